"""The toolkit's face: command line, quickstart, training of the tiny towers, and reports."""
