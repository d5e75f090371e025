"""Training of the reference pipelines that the package ships."""
