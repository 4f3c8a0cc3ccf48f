// Package docs tests the documents of the repository.
//
// Its tests hold every Markdown page against the code:
//
//   - TestSessions runs the commands of every console block and compares what
//     they print with the page.
//   - TestCommands checks the commands and flags that pages name but do not run.
//   - TestFlags checks the flags that pages name alone.
//   - TestTasks checks the make targets and the single tests that pages name.
//   - TestLinks follows every relative link, to its file and its heading.
//   - TestPaths checks that every path that a page names exists.
//   - TestWords, TestWordsOfCode and TestWordsOfScripts find words that the project
//     does not use.
//
// # Console blocks
//
// A block fenced as console is a session: a line that begins with "$ " is a
// command, the lines below it are its output. A command may carry a here-document.
// All console blocks of a page run in order, in one empty directory, with one
// server. The comment <!-- session --> starts again with an empty directory.
// The comment <!-- hidden, with a session inside, runs without being shown.
//
// A fenced block with a file name after its language (csv holds.csv) writes that
// file before the next command runs.
//
// A command must succeed, unless the last line of its output begins with
// "holdmetrics: ". A line that holds only "…" stands for any lines; within a
// line "…" stands for any text. Widths of columns, times after July 2026, log ids,
// durations and byte counts are not compared.
//
// These commands are not run by the shell:
//
//	holdmetrics serve|gateway|worker ...  runs in the background, on free ports
//	publish SUBJECT TYPE TEXT             publishes to NATS, as a raw producer does
//	stop-server                           stops the last of them with SIGTERM
//	start-nats                            starts a NATS server for gateway and worker
//	start-mongodb                         starts a MongoDB, or its stand-in
//
// After a change of outputs, "go test ./test/docs -run TestSessions -update"
// writes what the commands print now into the pages. Read the diff.
package docs
