"""The command line: it parses, calls one verb, renders, exits."""
