"""Pictures of any kind as samples, and samples as pictures of the same kind."""
