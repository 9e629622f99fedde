"""Optional libraries, and the one workaround for a library that cannot be imported as it is."""
