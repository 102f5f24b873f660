//! What docs/reliability.md says is tested, is: each test that its catalogue names is there.

use std::fs;
use std::path::Path;

/// The texts between backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Whether there is a file or a folder for a path of modules, among the tests of the whole program or beside the code.
fn exists(root: &Path, module: &str) -> bool {
    let path = module.replace("::", "/");
    ["tests", "src"]
        .iter()
        .map(|tree| root.join(tree).join(&path))
        .any(|at| at.is_dir() || at.with_extension("rs").is_file())
}

#[test]
fn the_catalogue_names_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/reliability.md")).expect("read the catalogue");
    let rows = text.lines().filter(|line| line.starts_with('|'));
    let named: Vec<&str> = rows.flat_map(quoted).filter(|name| name.contains("::")).collect();
    assert!(named.len() > 50, "only {} tests are named", named.len());
    let missing: Vec<&&str> = named.iter().filter(|module| !exists(root, module)).collect();
    assert!(missing.is_empty(), "docs/reliability.md names tests that are not there: {missing:?}");
}
