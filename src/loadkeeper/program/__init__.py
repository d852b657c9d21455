"""Loadkeeper in somebody else's program: what `loadkeeper` hands on by name. docs/library.md is its page.

`manager.ProcessManager` and `load_manager.LoadManager` are the two managers with a face for programs; the loops that do
the work stand in the folders `process_manager` and `load_manager`. Nothing of the program is changed: no signal, child,
descriptor, limit, directory, environment or logger of it."""
