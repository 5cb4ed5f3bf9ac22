"""What one method alone needs, and what few users need. The rest of the package does not import it.

Commands and export targets are found through the entry points in pyproject.toml; a recipe imports its own parts.
"""
