"""Extension of griffe that shows the section `Example:` of a docstring as code, like the section `Examples:`."""

import griffe


class Examples(griffe.Extension):
    """Rename the section when a docstring is read."""

    def on_object(self, *, obj: griffe.Object, **kwargs: object) -> None:
        """Rename the section in the docstring of one object."""
        if obj.docstring:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
