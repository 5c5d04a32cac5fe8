"""Write all pages of the reference."""

from __future__ import annotations

from tools.reference.pages import FOLDER, pages


def main() -> None:
    """Write each page and print its path."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, "utf-8")
        print(FOLDER / name)


if __name__ == "__main__":
    main()
