"""What this computer's parts say of their own wear and errors: a file for each kind of part."""
