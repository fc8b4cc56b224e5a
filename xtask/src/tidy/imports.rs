//! Which crate may import which: the house's plan, so that a device cannot come to know a CPU, nor the translator an
//! instruction set.

use std::collections::BTreeMap;

use serde_json::Value;

/// A crate's directory and the directories it may import from; `*` stands for any one name. The first match counts.
/// Crates whose entry is `None` may import everything.
const PLAN: &[(&str, Option<&[&str]>)] = &[
    ("", None),
    ("xtask", None),
    ("fuzz", None),
    ("tests/*", None),
    ("vm", Some(&[])),
    ("tcg", Some(&["vm"])),
    ("tcg/decodetree", Some(&[])),
    ("tcg/softfloat", Some(&[])),
    ("cpu/*", Some(&["tcg", "vm", "tcg/decodetree", "tcg/softfloat"])),
    ("kvm", Some(&["cpu/*", "vm"])),
    ("hw", Some(&["vm"])),
    ("machines", Some(&["hw", "cpu/*", "vm"])),
    ("host", Some(&["vm"])),
    ("usernet", Some(&["vm"])),
    ("ui", Some(&["vm"])),
    ("monitor", Some(&["vm"])),
    ("gdbstub", Some(&["vm"])),
];

/// Complaints about the workspace that `cargo metadata` describes. Dependencies of tests and build scripts count too.
pub fn check(metadata: &Value) -> Vec<String> {
    let root = metadata["workspace_root"].as_str().unwrap_or_default();
    let directory = |path: &str| path.strip_prefix(root).map(|rest| rest.trim_start_matches('/').to_owned());
    let empty = Vec::new();
    let packages = metadata["packages"].as_array().unwrap_or(&empty);
    // Name of each dependency's directory, by crate: only those with a path are ours.
    let mut edges = BTreeMap::new();
    for package in packages {
        let manifest = package["manifest_path"].as_str().unwrap_or_default();
        let Some(from) = manifest.strip_suffix("/Cargo.toml").and_then(directory) else {
            return vec![format!("package {} lies outside the workspace", package["name"])];
        };
        let dependencies = package["dependencies"].as_array().unwrap_or(&empty);
        let ours = dependencies.iter().filter_map(|dependency| dependency["path"].as_str());
        edges.insert(from, ours.map(|path| directory(path).unwrap_or_else(|| path.to_owned())).collect::<Vec<_>>());
    }
    if edges.is_empty() {
        return vec!["cargo metadata names no package".into()];
    }
    let mut complaints = Vec::new();
    for (from, targets) in &edges {
        let Some((_, allowed)) = PLAN.iter().find(|(pattern, _)| matches(pattern, from)) else {
            complaints
                .push(format!("{from} is not in the plan of who imports whom; add it to xtask/src/tidy/imports.rs"));
            continue;
        };
        let Some(allowed) = allowed else { continue };
        for to in targets {
            if !allowed.iter().any(|pattern| matches(pattern, to)) {
                complaints.push(format!("{from} imports {to}; it may import only: [{}]", allowed.join(", ")));
            }
        }
    }
    complaints
}

fn matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(parent) => path.strip_prefix(parent).is_some_and(|name| !name.is_empty() && !name.contains('/')),
        None => pattern == path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn workspace(edges: &[(&str, &[&str])]) -> Value {
        let packages: Vec<Value> = edges
            .iter()
            .map(|(dir, to)| {
                let mut dependencies: Vec<Value> = to.iter().map(|to| json!({"name": to, "path": format!("/r/{to}")})).collect();
                dependencies.push(json!({"name": "serde", "path": null}));
                let slash = if dir.is_empty() { "" } else { "/" };
                json!({"name": dir, "manifest_path": format!("/r{slash}{dir}/Cargo.toml"), "dependencies": dependencies})
            })
            .collect();
        json!({"workspace_root": "/r", "packages": packages})
    }

    #[test]
    fn edges_of_the_plan_pass_and_others_fail() {
        let check = |edges: &[(&str, &[&str])], expect: &[&str]| assert_eq!(check(&workspace(edges)), expect);
        check(
            &[("vm", &[]), ("tcg", &["vm"]), ("cpu/arm", &["tcg", "vm", "tcg/softfloat"]), ("", &["hw", "tcg"])],
            &[],
        );
        check(&[("machines", &["cpu/arm", "hw"]), ("xtask", &["vm"]), ("tests/boot", &["tcg"])], &[]);
        check(&[("hw", &["vm", "cpu/arm"])], &["hw imports cpu/arm; it may import only: [vm]"]);
        check(&[("vm", &["hw"])], &["vm imports hw; it may import only: []"]);
        check(&[("tcg", &["tcg/softfloat"])], &["tcg imports tcg/softfloat; it may import only: [vm]"]);
        check(
            &[("cpu/arm", &["cpu/x86"])],
            &["cpu/arm imports cpu/x86; it may import only: [tcg, vm, tcg/decodetree, tcg/softfloat]"],
        );
        check(&[("new", &[])], &["new is not in the plan of who imports whom; add it to xtask/src/tidy/imports.rs"]);
    }

    #[test]
    fn an_empty_answer_is_no_pass() {
        assert!(!check(&json!({})).is_empty());
    }
}
