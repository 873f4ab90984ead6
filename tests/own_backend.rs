//! A backend of one's own against a real server: the example's, for tmux.

fn main() {}
