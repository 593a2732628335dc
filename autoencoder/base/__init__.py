"""What every stage needs: parameters, command line, files, errors and the start of a program."""
