"""What a long run needs: signals, processes, and files that are complete or absent. Private."""
