//! Words and paths that must not be in the repository.

use super::File;
use super::source::{code_only, is_word, test_lines};

/// Directories of one machine, and hosts of package registries. Split so that this file passes its own check.
const FOREIGN: &[&str] = &[concat!("/wo", "rk/"), concat!("/tmp/", "wt/"), concat!("crates", ".io")];

/// Marks of unfinished code.
const UNFINISHED: &[&str] = &["todo!", "unimplemented!", "dbg!"];

pub fn check(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files {
        // Cargo's own record of where packages came from.
        if !file.path.ends_with("Cargo.lock") {
            complaints.extend(foreign(file));
        }
        if file.path.ends_with(".rs") && !is_test(&file.path) {
            complaints.extend(unfinished(file));
        }
    }
    complaints
}

fn foreign(file: &File) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        for word in FOREIGN {
            // Only where the path or name starts here: inside a longer one it is somebody's relative path.
            let starts = |at: usize| !line[..at].ends_with(|c: char| is_word(c) || ".-}".contains(c));
            if line.match_indices(word).any(|(at, _)| starts(at)) {
                complaints.push(format!("{}:{}: `{word}` does not belong in the repository", file.path, number + 1));
            }
        }
    }
    complaints
}

fn unfinished(file: &File) -> Vec<String> {
    let code = code_only(&file.text);
    let mut complaints = Vec::new();
    for ((number, line), is_test) in code.lines().enumerate().zip(test_lines(&code)) {
        for mark in UNFINISHED.iter().filter(|_| !is_test) {
            if line.match_indices(mark).any(|(at, _)| !line[..at].ends_with(is_word)) {
                complaints.push(format!("{}:{}: {mark} is left in code", file.path, number + 1));
            }
        }
    }
    complaints
}

fn is_test(path: &str) -> bool {
    path.split('/').any(|part| part == "tests")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, text: &str) -> usize {
        check(&[File { path: path.into(), text: text.into() }]).len()
    }

    #[test]
    fn foreign_paths_and_hosts() {
        let (home, host) = (FOREIGN[0], FOREIGN[2]);
        assert_eq!(complaints("README.md", &format!("see {home}main\nand https://{host}/x\n")), 2);
        assert_eq!(complaints("a.rs", &format!("// see {home}x")), 1);
        assert_eq!(complaints("README.md", &format!("frame{home}x and a.{home}b, work/x\n")), 0);
        assert_eq!(complaints("Cargo.lock", host), 0);
    }

    #[test]
    fn unfinished_code_outside_tests() {
        assert_eq!(complaints("a/src/x.rs", "fn f() { todo!() }\nfn g() { std::dbg!(1); }"), 2);
        assert_eq!(complaints("a/src/x.rs", "// todo!()\nlet s = \"dbg!\"; my_todo!();"), 0);
        assert_eq!(complaints("a/src/x.rs", "#[cfg(test)]\nmod tests {\n    fn f() { unimplemented!() }\n}\n"), 0);
        assert_eq!(complaints("a/src/x.rs", "#[cfg(test)]\nmod tests {}\nfn f() { unimplemented!() }\n"), 1);
        assert_eq!(complaints("a/tests/x.rs", "fn f() { todo!() }"), 0);
    }
}
