//! Debian's package archive through apt, in a private directory: its own package lists, its own architecture, nothing of
//! the host changed. apt checks the archive's signature against the Debian archive keyring and every package against
//! the signed index; a suite whose signature does not verify is an error, never a warning.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::host::KEYRING;
use crate::command::{exists, output, step};

/// The mirror that redirects to a near one.
const USUAL_MIRROR: &str = "http://deb.debian.org/debian";
/// The suite whose keys every host's keyring has; its own keyring package brings the keys of later suites.
const OLDEST: &str = "bookworm";

/// A suite of the archive as seen by one architecture.
pub struct Archive {
    suite: &'static str,
    arch: &'static str,
    dir: PathBuf,
}

impl Archive {
    /// Prepares the private apt directory `dir` for `suite` and reads its package lists (again only when older than a day).
    pub fn open(suite: &'static str, arch: &'static str, dir: &Path) -> Result<Archive> {
        if !exists("apt-get") {
            bail!("no apt on this host: guests come from Debian's archive through apt");
        }
        match Archive::open_with(suite, arch, dir, Path::new(KEYRING)) {
            // The host's keyring may be older than the suite. A keyring that the older suite vouches for is as good.
            Err(error) if suite != OLDEST => Archive::newer_keyring(arch, dir)
                .and_then(|keyring| Archive::open_with(suite, arch, dir, &keyring))
                .map_err(|_| error),
            result => result,
        }
    }

    /// Keys of the archive as of now: the verified package of the oldest suite.
    fn newer_keyring(arch: &'static str, dir: &Path) -> Result<PathBuf> {
        let package = Archive::open_with(OLDEST, arch, dir, Path::new(KEYRING))?.package("debian-archive-keyring")?;
        let tree = dir.join("keyring");
        output(Command::new("dpkg-deb").arg("-x").arg(package).arg(&tree))?;
        Ok(tree.join(KEYRING.trim_start_matches('/')))
    }

    fn open_with(suite: &'static str, arch: &'static str, dir: &Path, keyring: &Path) -> Result<Archive> {
        let keyring = keyring.display();
        let archive = Archive { suite, arch, dir: dir.join(format!("{suite}-{arch}")) };
        for sub in ["lists/partial", "cache/archives/partial", "etc/preferences.d", "deb"] {
            let dir = archive.dir.join(sub);
            fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        fs::write(archive.dir.join("status"), "")?;
        fs::write(archive.dir.join("apt.conf"), archive.configuration())?;
        fs::write(
            archive.dir.join("etc/sources.list"),
            format!("deb [target=Packages signed-by={keyring}] {} {suite} main\n", mirror()),
        )?;
        let stamp = archive.dir.join("updated");
        let fresh = fs::metadata(&stamp)
            .and_then(|m| m.modified())
            .is_ok_and(|time| time.elapsed().is_ok_and(|age| age.as_secs() < 24 * 3600));
        if !fresh {
            step(&format!("fetch: package list of {suite} for {arch}"), || {
                output(archive.apt("apt-get").args(["update", "-q", "--error-on=any"])).with_context(|| {
                    format!("no verified package list of {suite} (no network, or its signature is not in {keyring})")
                })
            })?;
            fs::write(&stamp, "")?;
        }
        Ok(archive)
    }

    fn configuration(&self) -> String {
        let (dir, arch) = (self.dir.display(), self.arch);
        // Hooks of the host's own configuration must not run for a private directory; proxies and time-outs stay.
        format!(
            r#"#clear APT::Update;
#clear DPkg;
#clear APT::Architectures;
Dir "{dir}";
Dir::State "{dir}";
Dir::State::lists "{dir}/lists";
Dir::State::status "{dir}/status";
Dir::Cache "{dir}/cache";
Dir::Etc "{dir}/etc";
Dir::Etc::sourcelist "{dir}/etc/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "{dir}/etc/preferences.d";
Dir::Etc::netrc "/etc/apt/auth.conf";
Dir::Etc::netrcparts "/etc/apt/auth.conf.d";
APT::Architecture "{arch}";
APT::Architectures {{ "{arch}"; }};
APT::Get::AllowUnauthenticated "false";
APT::Sandbox::User "root";
Acquire::AllowInsecureRepositories "false";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
"#
        )
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C").arg("-c").arg(self.dir.join("apt.conf"));
        command
    }

    /// First dependency of a package whose name starts with `prefix`: from a metapackage to the version it stands for.
    pub fn dependency(&self, package: &str, prefix: &str) -> Result<String> {
        let text = output(self.apt("apt-cache").args(["depends", "--important", package]))?;
        text.lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            .find(|name| name.starts_with(prefix))
            .map(str::to_owned)
            .with_context(|| format!("{package} in {} depends on no {prefix}*", self.suite))
    }

    /// What the archive's index says about a package: one paragraph of fields.
    pub fn stanza(&self, package: &str) -> Result<String> {
        let text = output(self.apt("apt-cache").args(["show", "--no-all-versions", package]))?;
        text.split("\n\n").next().map(str::to_owned).with_context(|| format!("{package} is not in {}", self.suite))
    }

    /// Downloads a package unless it is there; returns its file.
    pub fn package(&self, package: &str) -> Result<PathBuf> {
        let dir = self.dir.join("deb");
        let uri = output(self.apt("apt-get").args(["download", "--print-uris", package]))?;
        // 'URI' NAME SIZE HASH
        let mut words = uri.split_whitespace().skip(1);
        let (Some(name), Some(size)) = (words.next(), words.next().and_then(|size| size.parse::<u64>().ok())) else {
            bail!("{package} is not in {}", self.suite);
        };
        let file = dir.join(name);
        if !fs::metadata(&file).is_ok_and(|m| m.len() == size) {
            step(&format!("fetch: {package} ({:.1} MB)", size as f64 / 1e6), || {
                output(self.apt("apt-get").current_dir(&dir).args(["download", "-q", package]))
            })?;
        }
        if !file.exists() {
            bail!("apt stored no {}", file.display());
        }
        Ok(file)
    }
}

/// The Debian mirror that the host itself uses, else the usual one.
pub fn mirror() -> String {
    let listed = output(Command::new("apt-get").args([
        "indextargets",
        "--no-release-info",
        "--format",
        "$(REPO_URI) $(RELEASE) $(COMPONENT)",
        "Created-By: Packages",
    ]));
    listed.ok().and_then(|text| pick_mirror(&text)).unwrap_or_else(|| USUAL_MIRROR.to_owned())
}

/// Finds the mirror of a main Debian suite in lines of `URI suite component`.
fn pick_mirror(targets: &str) -> Option<String> {
    const SUITES: &[&str] =
        &["bookworm", "trixie", "forky", "sid", "stable", "testing", "unstable", "oldstable", "bullseye"];
    targets.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (uri, suite, component) = (words.next()?, words.next()?, words.next()?);
        let http = uri.starts_with("http://") || uri.starts_with("https://");
        (http && SUITES.contains(&suite) && component == "main").then(|| uri.trim_end_matches('/').to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirror_is_that_of_a_main_suite() {
        let check = |text, expect: Option<&str>| assert_eq!(pick_mirror(text).as_deref(), expect, "{text}");
        check("http://a.example/debian/ bookworm main", Some("http://a.example/debian"));
        check(
            "http://s.example/ bookworm-security main\nhttps://b.example/debian trixie main",
            Some("https://b.example/debian"),
        );
        check("http://u.example/ubuntu jammy main", None);
        check("file:/cdrom bookworm main", None);
        check("http://a.example/debian bookworm contrib", None);
        check("", None);
    }
}
