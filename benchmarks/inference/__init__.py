"""The inference suite: what an answer costs, by plain generation, by latent feedback and by the tool loop."""
