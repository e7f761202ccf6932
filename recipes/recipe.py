"""A training recipe: one YAML per stage, read strictly."""


class RecipeError(ValueError):
    """A mistake in a recipe, told in one line that names the key, its value and what is allowed."""
