"""Everything that the package reads, handed to it by somebody who means harm."""
