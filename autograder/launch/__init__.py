"""Starting the course on a learner's machine, and publishing it to Binder and Colab."""
