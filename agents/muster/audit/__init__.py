"""The audit of real code: what `muster audit PATH` finds out, as pure functions.

Nothing in this package knows of the mesh. Each step takes a JSON-able dict and returns one (the
shapes are in `shapes`), reads no clock, no network and no file but the sources it is given, so any
agent may run any step, twice if need be, and the answer is the same:

    collect ─► plan ─► per batch of files  ┬─ survey       (research)
                                           ├─ measure      (processing)
                                           ├─ lint         (analysis)
                                           └─ fingerprint  (analysis)
               then over all files         ┬─ match        (analysis: fingerprints ► clones)
                                           └─ graph        (analysis: imports ► cycles)
               then                          merge ► report, page, summary

Invariant: a file's result depends on its bytes and its path alone, never on the batch it came in.
Invariant: `merge.findings` depends only on the sources; what depends on the run stays in `run`.
Invariant: audited code is parsed and tokenised, never imported or run.

`local` runs all of it in one process, and is what the mesh's result is compared with.
"""
