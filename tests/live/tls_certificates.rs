//! Certificates for one test, made by the program openssl.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An authority, which signs what it is asked to.
pub struct Authority {
    directory: PathBuf,
    name: String,
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub struct Certificate {
    pub certificate: String,
    pub key: String,
}

/// Runs openssl in the directory; it has to succeed.
pub fn openssl(directory: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").current_dir(directory).args(arguments).output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

const NEW_KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
/// What an authority's own certificate says.
const AUTHORITY: &str = "basicConstraints = critical,CA:TRUE\nkeyUsage = critical,keyCertSign,cRLSign\n";

impl Authority {
    /// One that signs itself.
    pub fn root(directory: &Path, name: &str) -> Self {
        let authority = Self::described(directory, name);
        let configuration = format!("{name}.cnf");
        let subject = format!("/CN={name}");
        let mut arguments = vec!["req", "-x509", "-config", &configuration, "-extensions", "authority"];
        let (key, certificate) = (format!("{name}.key"), format!("{name}.crt"));
        arguments.extend(NEW_KEY);
        arguments.extend(["-days", "30", "-subj", &subject, "-keyout", &key, "-out", &certificate]);
        openssl(directory, &arguments);
        authority
    }

    /// One whose certificate this one signs.
    pub fn intermediate(&self, name: &str) -> Self {
        self.sign(name, name, AUTHORITY);
        Self::described(&self.directory, name)
    }

    fn described(directory: &Path, name: &str) -> Self {
        fs::write(directory.join(format!("{name}.index")), "").unwrap();
        let text = format!(
            "[req]\ndistinguished_name = names\nprompt = no\n[names]\ncommonName = {name}\n[authority]\n{AUTHORITY}\
             [ca]\ndefault_ca = this\n[this]\ndatabase = {name}.index\nrand_serial = yes\nnew_certs_dir = .\n\
             certificate = {name}.crt\nprivate_key = {name}.key\ndefault_md = sha256\npolicy = any\n\
             default_days = 30\ndefault_crl_days = 30\nunique_subject = no\n[any]\ncommonName = supplied\n"
        );
        fs::write(directory.join(format!("{name}.cnf")), text).unwrap();
        Self { directory: directory.to_owned(), name: name.to_owned() }
    }

    /// Signs a certificate with this common name and these extensions.
    pub fn sign(&self, file: &str, common_name: &str, extensions: &str) -> Certificate {
        self.sign_for(file, common_name, extensions, &[])
    }

    /// One that was good yesterday.
    pub fn sign_expired(&self, file: &str, common_name: &str, extensions: &str) -> Certificate {
        let dates = ["-startdate", "20200101000000Z", "-enddate", "20210101000000Z"];
        self.sign_for(file, common_name, extensions, &dates)
    }

    fn sign_for(&self, file: &str, common_name: &str, extensions: &str, dates: &[&str]) -> Certificate {
        let request = self.request(file, common_name);
        let (configuration, list) = (format!("{}.cnf", self.name), format!("{file}.ext"));
        fs::write(self.directory.join(&list), extensions).unwrap();
        let made = self.named(file);
        let mut arguments = vec!["ca", "-batch", "-notext", "-config", &configuration, "-in", &request];
        arguments.extend(["-out", &made.certificate]);
        // Without extensions, it is a certificate of the first version.
        if !extensions.is_empty() {
            arguments.extend(["-extfile", &list]);
        }
        arguments.extend(dates);
        openssl(&self.directory, &arguments);
        made
    }

    /// A new key, and a request for its certificate.
    fn request(&self, file: &str, common_name: &str) -> String {
        let (configuration, subject) = (format!("{}.cnf", self.name), format!("/CN={common_name}"));
        let (request, key) = (format!("{file}.csr"), self.named(file).key);
        let mut arguments = vec!["req", "-new", "-config", &configuration, "-subj", &subject];
        arguments.extend(NEW_KEY);
        arguments.extend(["-keyout", &key, "-out", &request]);
        openssl(&self.directory, &arguments);
        request
    }

    fn named(&self, file: &str) -> Certificate {
        let path = |end: &str| self.directory.join(format!("{file}.{end}")).to_str().unwrap().to_owned();
        Certificate { certificate: path("crt"), key: path("key") }
    }

    /// Its own certificate, which clients trust.
    pub fn certificate(&self) -> String {
        self.own().certificate
    }

    /// Its own certificate and key.
    pub fn own(&self) -> Certificate {
        self.named(&self.name)
    }

    /// The list of what this authority has revoked, with this one revoked too.
    pub fn revoke(&self, certificate: &Certificate) -> String {
        let configuration = format!("{}.cnf", self.name);
        openssl(&self.directory, &["ca", "-config", &configuration, "-revoke", &certificate.certificate]);
        self.revoked()
    }

    /// The list of what this authority has revoked.
    pub fn revoked(&self) -> String {
        let (configuration, list) = (format!("{}.cnf", self.name), self.named(&self.name).certificate + "l");
        openssl(&self.directory, &["ca", "-config", &configuration, "-gencrl", "-out", &list]);
        list
    }
}
