"""What all packages share: errors, paths and URLs, configuration files, image ids, compiled loops."""
