"""Annotation and detection files: JSON in, packed arrays out."""
