"""vlad runs vision-language-action policies on robots, and keeps the robots safe while they run."""

__version__ = "0.1.0"
