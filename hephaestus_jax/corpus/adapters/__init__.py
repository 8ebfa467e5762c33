"""From each published file format to Documents, a module per format family."""
