"""How the bundled models were made: data, and the settings of other people's trainers."""
