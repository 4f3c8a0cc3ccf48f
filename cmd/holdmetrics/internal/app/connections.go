package app

// A connection is an open file, and so is each block of the log and each table of the
// store. Clients get a share of the files that the process may open, so that they cannot
// take those of the log.

const (
	// clientShare is which part of the open files each server gives its clients: three
	// servers leave half of them to the log and the store.
	clientShare = 6
	// storeShare is which part a store may have open of its tables, and storeMost how many
	// it needs at most.
	storeShare, storeMost = 8, 1000
)

// fileBudget divides what a process may have open. 0: there is no limit.
type fileBudget struct {
	clients int // connections of each server
	store   int // tables of a store
}

// budgetOf divides a number of open files; 0: it is not known.
func budgetOf(files int) fileBudget {
	if files == 0 {
		return fileBudget{}
	}
	return fileBudget{clients: max(files/clientShare, 8), store: min(max(files/storeShare, 16), storeMost)}
}

// connectionBytes is about what an idle connection takes of the memory.
const connectionBytes = 64 << 10

// fileBudget divides what the process may have open. The settings and the memory of the
// process may leave clients less of it.
func (n *process) fileBudget() fileBudget {
	b := budgetOf(fileLimit())
	fewer := func(most int) {
		if most > 0 && (b.clients == 0 || most < b.clients) {
			b.clients = most
		}
	}
	fewer(n.settings.Bounds.Connections)
	fewer(int(n.memory.total / 8 / connectionBytes))
	return b
}
