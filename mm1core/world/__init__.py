"""The offline world: scenes of coloured shapes and a digit, described in dialects."""
