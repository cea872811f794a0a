"""What collections and their files state: class lists, annotations, the publishers' files."""
