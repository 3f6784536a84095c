"""An extension of griffe: the section `Example:` of a docstring is shown as code, as the section `Examples:` is."""

import griffe


class Examples(griffe.Extension):
    """Rename the section when a docstring is read."""

    def on_object(self, *, obj: griffe.Object, **kwargs: object) -> None:
        """Rename the section in the docstring of one object."""
        if obj.docstring:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
