"""From numbers in files to the phase of every echo, of one sign and without offsets (3, 4.c)."""
