//! The rule that files of different concerns do not import each other in a circle, directly or by way of others.
//!
//! A file imports another if it names one of its items by a path: in a `use`, or in full. A module's file and the files
//! in its folder are one room and may name each other. Unit tests are left out.

use std::collections::{BTreeMap, BTreeSet};

use super::tidy::{Source, sources};

/// Circles that may stay, each with the reason.
const ALLOWED: [(&[&str], &str); 4] = [
    (
        &["store/value/form.rs", "store/value/hash/expiring/table.rs", "store/value/sorted_set/members.rs"],
        "data that contains itself: a large hash or sorted set is a form, and its records have forms",
    ),
    (&["partition/group.rs", "partition/shard.rs"], "a shard begins its units, and a unit works on its shard"),
    (&["storage/log/driver.rs", "storage/log/prepare.rs"], "a log holds the space that is prepared for it"),
    (&["storage/log/commit_ring.rs", "storage/log/direct.rs"], "a commit on the ring is one of direct I/O's own"),
];

/// Files under `src/` by the path of their modules.
type Modules<'s> = BTreeMap<Vec<String>, &'s Source>;

/// The module that a file is.
fn module(path: &str) -> Option<Vec<String>> {
    let path = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let path = path.strip_suffix("/mod").unwrap_or(path);
    Some(match path {
        "lib" => Vec::new(),
        "main" => return None,
        path => path.split('/').map(str::to_owned).collect(),
    })
}

/// The names of a path, from the front of `text`: `crate::a::B` has three.
fn names(text: &str) -> Vec<&str> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
    text[..end].split("::").filter(|name| !name.is_empty()).collect()
}

/// All paths in a tree of imports, as after `use`.
fn leaves(tree: &str, before: &[&str], found: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    let mut path = before.to_vec();
    path.extend(names(tree));
    let Some(inner) = tree.split_once('{').map(|(_, inner)| inner.trim_end().trim_end_matches('}')) else {
        if !tree.is_empty() {
            found.push(path.into_iter().map(str::to_owned).collect());
        }
        return;
    };
    let mut depth = 0;
    let parts = inner.split(|c: char| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    parts.for_each(|part| leaves(part, &path, found));
}

/// All paths that `code` names.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let before = code[..at].rsplit(['\n', '{', ';']).next().unwrap_or_default().trim();
        let begins_item = matches!(before, "" | "pub") || before.ends_with(')');
        if begins_item && let Some(end) = code[at..].find(';') {
            leaves(&code[at + 4..at + end], &[], &mut found);
        }
    }
    for root in ["crate::", "self::", "super::"] {
        found.extend(
            code.match_indices(root).map(|(at, _)| names(&code[at..]).into_iter().map(str::to_owned).collect()),
        );
    }
    found
}

/// The file that a path leads to from the module `from`, unless it is the crate's root.
fn target<'s>(path: &[String], from: &[String], modules: &Modules<'s>) -> Option<&'s Source> {
    let mut at = match path.first()?.as_str() {
        "crate" => Vec::new(),
        "self" | "super" => from.to_vec(),
        child if modules.contains_key(&[from, &[child.to_owned()]].concat()) => from.to_vec(),
        _ => return None,
    };
    for name in path {
        match name.as_str() {
            "crate" | "self" => {}
            "super" => drop(at.pop()),
            name => at.push(name.to_owned()),
        }
    }
    while !at.is_empty() {
        if let Some(source) = modules.get(&at) {
            return Some(source);
        }
        at.pop();
    }
    None
}

/// Which file imports which, by their paths under `src/`.
fn imports(sources: &[Source]) -> BTreeMap<&str, BTreeSet<&str>> {
    let modules: Modules<'_> = sources.iter().filter_map(|source| Some((module(&source.path)?, source))).collect();
    let name = |source: &'_ Source| source.path.len().min("src/".len());
    let mut imports = BTreeMap::new();
    for (module_path, source) in modules.iter().filter(|(path, _)| !path.is_empty()) {
        let imported = paths(source.outside_tests()).into_iter().filter_map(|path| {
            let found = target(&path, module_path, &modules)?;
            let other = module(&found.path)?;
            let is_room = module_path.starts_with(&other) || other.starts_with(module_path);
            (!is_room).then(|| &found.path[name(found)..])
        });
        imports.insert(&source.path[name(source)..], imported.collect());
    }
    imports
}

/// Files that reach each other by imports: each a group of at least two.
fn circles<'s>(imports: &BTreeMap<&'s str, BTreeSet<&'s str>>) -> Vec<Vec<&'s str>> {
    let reached = |from: &'s str| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(file) = open.pop() {
            open.extend(imports.get(file).into_iter().flatten().filter(|next| seen.insert(**next)));
        }
        seen
    };
    let all: BTreeMap<&str, BTreeSet<&str>> = imports.keys().map(|file| (*file, reached(file))).collect();
    let mut circles: Vec<Vec<&str>> = Vec::new();
    for (file, reach) in all.iter().filter(|(file, reach)| reach.contains(*file)) {
        if !circles.iter().any(|circle| circle.contains(file)) {
            let back = reach.iter().filter(|other| all.get(*other).is_some_and(|reach| reach.contains(file)));
            circles.push(back.copied().collect());
        }
    }
    circles
}

#[test]
fn files_of_different_concerns_do_not_import_each_other_in_a_circle() {
    let sources = sources();
    let circles = circles(&imports(&sources));
    let unknown: Vec<_> = circles.iter().filter(|circle| ALLOWED.iter().all(|(files, _)| files != circle)).collect();
    assert!(unknown.is_empty(), "files that import each other in a circle: {unknown:#?}");
    let gone: Vec<_> = ALLOWED.iter().filter(|(files, _)| !circles.iter().any(|circle| circle == files)).collect();
    assert!(gone.is_empty(), "no such circle any more; remove it from ALLOWED: {gone:#?}");
}

#[test]
fn imports_are_seen_however_they_are_written() {
    let source = |path: &str, code: &str| Source { path: path.into(), text: String::new(), code: code.into() };
    let sources = [
        source("src/a/mod.rs", "mod b;\nmod c;\nuse self::b::B;"),
        source("src/a/b.rs", "use super::c::{C, D};\npub(super) use crate::{d::E as F, e};"),
        source("src/a/c.rs", "fn f() -> crate::a::b::B { super::b::new() }"),
        source("src/d.rs", "use crate::a::b;\n#[cfg(test)]\nmod tests { use crate::e; }"),
        source("src/e.rs", "use std::fs;"),
    ];
    let imports = imports(&sources);
    let of = |file: &str| imports[file].iter().copied().collect::<Vec<_>>();
    assert_eq!(of("a/mod.rs"), [""; 0]);
    assert_eq!(of("a/b.rs"), ["a/c.rs", "d.rs", "e.rs"]);
    assert_eq!(of("a/c.rs"), ["a/b.rs"]);
    assert_eq!(of("d.rs"), ["a/b.rs"]);
    assert_eq!(circles(&imports), [["a/b.rs", "a/c.rs", "d.rs"]]);
}
