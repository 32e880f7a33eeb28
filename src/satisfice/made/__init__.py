"""How the bundled models were made: problems, worked solutions, and the settings of other people's trainers."""
