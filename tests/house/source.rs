//! The files of `src` as modules, and the paths of the crate that each of them names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Segments from the crate's root on.
pub type Module = Vec<String>;

/// What one file says outside its tests.
#[derive(Default)]
pub struct File {
    /// Below the repository's root.
    pub path: String,
    /// Paths of this crate that the code names, but for what it only hands on with `pub use`.
    pub names: BTreeSet<Module>,
    /// What `use` brings in under which name.
    brought: BTreeMap<String, Module>,
    /// What is handed on with `pub use`.
    pub handed_on: BTreeSet<Module>,
}

/// All of `src`.
pub struct Source {
    pub files: BTreeMap<Module, File>,
}

impl Source {
    pub fn read(root: &Path) -> Self {
        let mut texts = BTreeMap::new();
        for entry in walkdir::WalkDir::new(root.join("src")) {
            let path = entry.expect("src is readable").into_path();
            let Some(module) = module_of(path.strip_prefix(root.join("src")).expect("below"))
            else {
                continue;
            };
            let below = path.strip_prefix(root).expect("below").to_string_lossy().into_owned();
            texts.insert(module, (below, fs_err::read_to_string(&path).expect("a source file")));
        }
        let modules: BTreeSet<Module> = texts.keys().cloned().collect();
        let file = |(module, (path, text)): (&Module, &(String, String))| {
            let tokens: TokenStream = text.parse().expect("Rust");
            let mut scan =
                Scan { modules: &modules, file: File { path: path.clone(), ..File::default() } };
            scan.walk(tokens, module);
            (module.clone(), scan.file)
        };
        Self { files: texts.iter().map(file).collect() }
    }

    /// The module whose file holds what `path` names, found through what others hand on.
    pub fn home(&self, path: &[String]) -> Module {
        let mut path = path.to_vec();
        // As long as the longest chain of files that hand a name on to each other could be.
        for _ in 0..10 {
            let known = (0..=path.len()).rev().find(|end| self.files.contains_key(&path[..*end]));
            let end = known.expect("the crate's root is a file");
            let handed = path.get(end).and_then(|name| self.files[&path[..end]].brought.get(name));
            let Some(handed) = handed else { return path[..end].to_vec() };
            path = [handed, &path[end + 1..]].concat();
        }
        path
    }
}

/// `None` for tests and for what is not Rust.
fn module_of(path: &Path) -> Option<Module> {
    let text = path.to_str()?.strip_suffix(".rs")?;
    let mut module: Module = text.split('/').map(str::to_owned).collect();
    let is_test = |name: &String| name == "tests" || name.ends_with("_tests");
    if module.iter().any(is_test) {
        return None;
    }
    if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        let name = module.pop()?;
        if name == "main" {
            return None;
        }
    }
    Some(module)
}

struct Scan<'a> {
    modules: &'a BTreeSet<Module>,
    file: File,
}

impl Scan<'_> {
    fn walk(&mut self, tokens: TokenStream, module: &[String]) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        let mut public = false;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Punct(mark) if mark.as_char() == '#' && is_test(tokens.get(at + 1)) => {
                    at = after_item(&tokens, at + 2);
                    continue;
                }
                TokenTree::Ident(word) if word == "pub" => {
                    public = true;
                    at += 1;
                    at += usize::from(group(tokens.get(at), Delimiter::Parenthesis).is_some());
                    continue;
                }
                TokenTree::Ident(word) if word == "use" => {
                    at = self.imports(&tokens, at + 1, module, public);
                }
                TokenTree::Ident(word) if word == "mod" => {
                    let name = tokens.get(at + 1).map(ToString::to_string).unwrap_or_default();
                    if let Some(inner) = group(tokens.get(at + 2), Delimiter::Brace) {
                        self.walk(inner, &[module, &[name]].concat());
                    }
                    at += 3;
                }
                TokenTree::Ident(_) => at = self.named(&tokens, at, module),
                TokenTree::Group(inner) => {
                    self.walk(inner.stream(), module);
                    at += 1;
                }
                _ => at += 1,
            }
            public = false;
        }
    }

    /// Takes the tree of a `use` in, which ends with a semicolon, and says where to go on.
    fn imports(
        &mut self,
        tokens: &[TokenTree],
        at: usize,
        module: &[String],
        public: bool,
    ) -> usize {
        let is_end = |token: &TokenTree| matches!(token, TokenTree::Punct(p) if p.as_char() == ';');
        let end = tokens[at..].iter().position(is_end).map_or(tokens.len(), |n| at + n);
        for (path, name) in tree(&tokens[at..end], &[]) {
            let Some(path) = self.absolute(&path, module) else { continue };
            if public {
                self.file.handed_on.insert(path.clone());
            } else {
                self.file.names.insert(path.clone());
            }
            self.file.brought.insert(name, path);
        }
        end + 1
    }

    /// Takes a path in that stands in the code, if one begins here.
    fn named(&mut self, tokens: &[TokenTree], at: usize, module: &[String]) -> usize {
        let mut path = vec![tokens[at].to_string()];
        let mut end = at + 1;
        while is_colons(&tokens[end..])
            && let Some(TokenTree::Ident(word)) = tokens.get(end + 2)
        {
            path.push(word.to_string());
            end += 3;
        }
        let after_colons = at >= 2 && is_colons(&tokens[at - 2..]);
        if path.len() > 1
            && !after_colons
            && let Some(path) = self.absolute(&path, module)
        {
            self.file.names.insert(path);
        }
        end
    }

    /// The path from the crate's root on, if it is one of this crate.
    fn absolute(&self, path: &[String], module: &[String]) -> Option<Module> {
        let ups = path.iter().take_while(|word| *word == "super").count();
        if ups > 0 {
            let kept = module.len().checked_sub(ups)?;
            return Some([&module[..kept], &path[ups..]].concat());
        }
        match path[0].as_str() {
            "crate" => Some(path[1..].to_vec()),
            "self" => Some([module, &path[1..]].concat()),
            child => {
                let child = [module, &[child.to_owned()]].concat();
                self.modules.contains(&child).then(|| [module, path].concat())
            }
        }
    }
}

fn group(token: Option<&TokenTree>, delimiter: Delimiter) -> Option<TokenStream> {
    match token {
        Some(TokenTree::Group(group)) if group.delimiter() == delimiter => Some(group.stream()),
        _ => None,
    }
}

/// `[cfg(test)]`, or `test` among other conditions.
fn is_test(token: Option<&TokenTree>) -> bool {
    let Some(attribute) = group(token, Delimiter::Bracket) else { return false };
    let text = attribute.to_string();
    text.starts_with("cfg") && text.contains("test") && !text.contains("not")
}

/// Where the item that begins here, attributes first, ends.
fn after_item(tokens: &[TokenTree], mut at: usize) -> usize {
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            TokenTree::Punct(mark) if mark.as_char() == ';' => break,
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => break,
            _ => {}
        }
    }
    at
}

fn is_colons(tokens: &[TokenTree]) -> bool {
    let colon = |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(mark)) if mark.as_char() == ':');
    colon(tokens.first()) && colon(tokens.get(1))
}

/// The paths of a `use` tree, each with the name that it gets here.
fn tree(tokens: &[TokenTree], before: &[String]) -> Vec<(Module, String)> {
    let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(p) if p.as_char() == ',');
    let mut found = Vec::new();
    for branch in tokens.split(is_comma) {
        let mut path = before.to_vec();
        let mut name = None;
        let mut inner = None;
        let mut words = branch.iter();
        while let Some(token) = words.next() {
            match token {
                TokenTree::Ident(word) if word == "as" => {
                    name = words.next().map(ToString::to_string)
                }
                TokenTree::Ident(word) if word == "self" && !path.is_empty() => {}
                TokenTree::Ident(word) => path.push(word.to_string()),
                TokenTree::Group(group) => inner = Some(group.stream()),
                _ => {}
            }
        }
        if let Some(inner) = inner {
            found.extend(tree(&inner.into_iter().collect::<Vec<_>>(), &path));
        } else if let Some(last) = path.last() {
            let name = name.unwrap_or_else(|| last.clone());
            found.push((path, name));
        }
    }
    found
}
