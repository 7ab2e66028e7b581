"""Archives of files without a node: one study, many studies."""
