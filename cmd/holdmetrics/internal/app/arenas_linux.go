//go:build cgo

package app

/*
#include <malloc.h>

// Before main: what threads have by then stays.
__attribute__((constructor)) static void few_arenas(void) {
#ifdef M_ARENA_MAX
	mallopt(M_ARENA_MAX, 2);
#endif
}
*/
import "C"

// fewArenas has the allocator of C, from which the embedded store has its blocks and
// memtables, keep its free memory together. Otherwise glibc keeps some for each of the
// threads: of a process limited to 300 MiB these were 50 MiB and more.
func fewArenas() { C.few_arenas() }
