"""From documents to batches: sources, the mix, rows packed exactly, files read at random."""
