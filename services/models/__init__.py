"""Where the one model comes from: built on the spot, out of a package, or out of a folder."""
