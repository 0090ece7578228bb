//! The registry that tests of the operator resolve images on: loopback, TLS, a password, one small image.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context;
use serde_json::json;

use crate::{
    cluster::{
        Credentials, Pki, RegistryAccess,
        busybox::{self, PAUSE},
        registry,
    },
    tool::{self, Hint, run},
};

const USER: &str = "tester";
const IMAGE: &str = "small:1";
const READY_TIMEOUT: Duration = Duration::from_secs(20);

/// A running registry; dropping it ends it.
#[derive(Debug)]
pub(super) struct TestRegistry {
    child: Child,
    access: RegistryAccess,
}

impl TestRegistry {
    /// Starts a registry on a free port, with its files in `folder`, and puts an image into it.
    pub(super) fn start(folder: &Path) -> anyhow::Result<Self> {
        tool::debian_packages(&["apache2-utils", "busybox-static", "docker-registry", "skopeo"])?;
        let pki = Pki::create(&folder.join("pki"))?;
        let address = free_address()?;
        let user =
            Credentials { username: USER.to_owned(), password: hex::encode(rand::random::<[u8; 16]>()) };
        let config = write_config(folder, &pki, address, &user)?;
        let log = fs::File::create(folder.join("log")).context("failed to create a log")?;
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("failed to share a log")?)
            .stderr(log)
            .spawn()
            .context("failed to start `docker-registry`: install the package docker-registry")?;
        let access = RegistryAccess {
            host: format!("localhost:{}", address.port()),
            push: Some(user.clone()),
            pull: Some(user),
            ca: Some((pki.ca_pem(), pki.ca_file())),
        };
        let mut started = Self { child, access };
        started.wait_ready(address)?;
        let layout = busybox::build(&folder.join("image"))?;
        registry::push(&started.access, folder, &format!("oci:{}:{PAUSE}", layout.display()), IMAGE)?;
        Ok(started)
    }

    /// Tells a test where it is.
    pub(super) fn describe_to(&self, command: &mut Command) {
        let RegistryAccess { host, pull, ca, .. } = &self.access;
        command.env("WEIR_TEST_REGISTRY", host).env("WEIR_TEST_IMAGE", IMAGE);
        if let Some(Credentials { username, password }) = pull {
            command.env("WEIR_TEST_REGISTRY_USER", username).env("WEIR_TEST_REGISTRY_PASSWORD", password);
        }
        if let Some((_, file)) = ca {
            command.env("WEIR_TEST_REGISTRY_CA_FILE", file);
        }
    }

    fn wait_ready(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_TIMEOUT;
        while TcpStream::connect(address).is_err() {
            let ended = self.child.try_wait().context("failed to look after the registry")?;
            anyhow::ensure!(ended.is_none(), "the registry ended at once: see its log beside its config.yml");
            anyhow::ensure!(Instant::now() < deadline, "the registry does not answer on {address}");
            std::thread::sleep(Duration::from_millis(40));
        }
        Ok(())
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        // Ended already, when it failed; then both calls do nothing.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Finds a port that nobody listens on right now.
fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("failed to find a free port")?;
    listener.local_addr().context("failed to find a free port")
}

fn write_config(
    folder: &Path,
    pki: &Pki,
    address: SocketAddr,
    user: &Credentials,
) -> anyhow::Result<std::path::PathBuf> {
    let serving = pki.issue_server("registry", &["localhost", "127.0.0.1"])?;
    let hint = Hint::new("install the package apache2-utils", "");
    // The error would repeat the command line, and with it the password.
    let line = run(Command::new("htpasswd").args(["-Bbn", &user.username, &user.password]), &hint)
        .map_err(|_| anyhow::anyhow!("htpasswd failed: is the package apache2-utils installed?"))?;
    let passwords = folder.join("htpasswd");
    fs::write(&passwords, format!("{}\n", line.trim())).context("failed to write the passwords")?;
    let config = json!({
        "version": "0.1",
        "log": { "level": "warn" },
        "storage": { "filesystem": { "rootdirectory": folder.join("data") } },
        "http": {
            "addr": address,
            "tls": { "certificate": serving.certificate_file, "key": serving.key_file },
        },
        "auth": { "htpasswd": { "realm": "weir", "path": passwords } },
    });
    let path = folder.join("config.yml");
    fs::write(&path, config.to_string()).context("failed to write the configuration")?;
    Ok(path)
}
