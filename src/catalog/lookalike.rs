//! Names of tools that people and models take for one another.
//!
//! Names are ASCII letters, digits, `_`, `.` and `-`, so of the skeletons of UTS #39 little is left: letters
//! and digits that are drawn alike, and what most systems treat alike besides, case and separators.

/// What `name` looks like: names with the same skeleton are taken for one another.
pub(super) fn skeleton(name: &str) -> String {
    let mut skeleton = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter.to_ascii_lowercase() {
            'i' | 'l' | '1' => skeleton.push('l'),
            'o' | '0' => skeleton.push('o'),
            'm' => skeleton.push_str("rn"),
            'w' => skeleton.push_str("vv"),
            '_' | '.' | '-' => skeleton.push('_'),
            other => skeleton.push(other),
        }
    }
    skeleton
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c17_names_that_look_alike_have_one_skeleton() {
        for (one, other) in [
            ("delete_file", "DELETE_FILE"),
            ("delete_file", "delete-file"),
            ("delete.file", "delete-file"),
            ("delete_file", "de1ete_fiIe"),
            ("get_0", "get_O"),
            ("issue", "lssue"),
            ("read_modem", "read_modern"),
        ] {
            assert_eq!(skeleton(one), skeleton(other), "{one} {other}");
        }
        for (one, other) in [
            ("get_user", "get_users"),
            ("get_user", "getuser"),
            ("tool_1", "tool_0"),
            ("tool_10", "tool_01"),
            ("list", "lost"),
        ] {
            assert_ne!(skeleton(one), skeleton(other), "{one} {other}");
        }
    }
}
