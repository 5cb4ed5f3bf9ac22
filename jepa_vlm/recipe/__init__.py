"""Recipes: what a run trains, and the files that they come from. Importing this package does not import torch."""

from jepa_vlm.recipe.files import Parameter, RecipeFile, describe_recipe, list_recipes, load_recipe
from jepa_vlm.recipe.recipe import Lora, Published, Recipe
from jepa_vlm.recipe.stage import Stage

__all__ = [
    "Lora",
    "Parameter",
    "Published",
    "Recipe",
    "RecipeFile",
    "Stage",
    "describe_recipe",
    "list_recipes",
    "load_recipe",
]
