"""The charts of the report, drawn by Matplotlib where it is installed; where not, they are empty and left out."""
