//! Files of every sort: mostly right, and wrong in every way.
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};

type Bytes = BoxedStrategy<Vec<u8>>;

fn one_of(words: &'static [&'static str]) -> Bytes {
    prop::sample::select(words).prop_map(|word| word.as_bytes().to_vec()).boxed()
}

fn join(parts: Vec<Vec<u8>>) -> Vec<u8> {
    parts.concat()
}

const PLAIN: &[&str] = &["all", "db", "app_rw", "sameuser", "samerole", "replication", "a-b.c"];
const QUOTED: &[&str] = &[
    "\"all\"",
    "\"a b\"",
    "a\"b\"c",
    "\"a,b\"",
    "\"x\"\"y\"",
    "\"\"",
    "\"#\"",
    "\"\"all",
    "al\"l\"",
    "\"+g\"",
    "\"@f\"",
];
const SIGNED: &[&str] =
    &["+g", "+\"a b\"", "+", "/^a.*$", "/", "\"/^b{1,2}$\"", "/a|b", "+/x", "@", "\"/\\d\"", "büro", "*"];

fn name() -> Bytes {
    prop_oneof![
        60 => one_of(PLAIN),
        20 => one_of(QUOTED),
        16 => one_of(SIGNED),
        10 => one_of(&["@w1", "@w2", "@\"w 3\""]),
        10 => "[a-z_]{1,12}".prop_map(String::into_bytes),
        1 => one_of(&["@missing", "@empty", "/(", "\"/[\"", "/a**", "\"open"]),
        1 => prop::collection::vec(any::<u8>(), 1..6),
    ]
    .boxed()
}

fn names() -> Bytes {
    let comma = prop_oneof![30 => one_of(&[","]), 9 => one_of(&[", ", ",,", ",\t"]), 1 => one_of(&[" ,", " , "])];
    let more = prop::collection::vec((comma, name()).prop_map(|(comma, name)| join(vec![comma, name])), 0..3);
    let more = prop_oneof![3 => Just(Vec::new()), 2 => more];
    (name(), more).prop_map(|(first, more)| join(vec![first, join(more)])).boxed()
}

fn four() -> BoxedStrategy<String> {
    let odd = "(0|1|12|012|0x1f|256|08|4294967295)(\\.(0|7|255|010|0xFF|65536)){0,4}";
    prop_oneof![10 => any::<[u8; 4]>().prop_map(|bytes| Ipv4Addr::from(bytes).to_string()), 1 => odd].boxed()
}

fn six() -> BoxedStrategy<String> {
    prop_oneof![
        10 => any::<[u16; 8]>().prop_map(|words| Ipv6Addr::from(words).to_string()),
        5 => "[0-9a-f]{1,4}::[0-9a-f]{0,4}",
        1 => "[0-9a-f]{0,4}(:[0-9a-f]{0,4}){1,7}",
        1 => "(::|1:2::|::ffff:)(10.0.0.1|1|abcd)(%[0-9a-z]{0,2})?",
    ]
    .boxed()
}

fn address() -> Bytes {
    let bits = |most: u32| prop_oneof![20 => (0..=most).prop_map(|bits| bits.to_string()), 1 => "[-+ ]?[0-9]{0,3}"];
    let slash = |(address, bits): (String, String)| match bits.contains(' ') {
        true => format!("\"{address}/{bits}\"").into_bytes(),
        false => format!("{address}/{bits}").into_bytes(),
    };
    let masked = |(address, blank, mask): (String, Vec<u8>, Vec<u8>)| join(vec![address.into_bytes(), blank, mask]);
    let blank = || one_of(&[" ", "\t ", "  "]);
    let masks = prop_oneof![
        20 => one_of(&["255.255.0.0", "255.0.255.0", "255", "0xffffff00", "255.255"]),
        1 => one_of(&["ffff::", "", "x", "255.255.0.0,255"]),
        3 => four().prop_map(String::into_bytes),
    ];
    let six_masks = prop_oneof![20 => one_of(&["ffff::", "ffff:ffff:0:ff::", "::"]), 1 => one_of(&["255.0.0.0"])];
    prop_oneof![
        20 => one_of(&["all", "samehost", "samenet", "\"all\"", "127.0.0.1/32", "::1/128"]),
        10 => one_of(&["db.example.com", ".example.com", "a_b", "*", "\"\"", "\"a b\""]),
        1 => one_of(&["all,samehost", "host/8", "10.0.0.0", "@w1"]),
        20 => (four(), bits(32)).prop_map(slash),
        10 => (six(), bits(128)).prop_map(slash),
        10 => (four(), blank(), masks).prop_map(masked),
        5 => (six(), blank(), six_masks).prop_map(masked),
    ]
    .boxed()
}

const CERTIFICATE: &[&str] = &[
    "clientcert=verify-full",
    "clientcert=verify-ca",
    "clientcert=1",
    "clientcert=0",
    "clientcert=no-verify",
    "clientname=DN",
    "clientname=CN",
    "clientcert=",
    "clientname=dn",
];
const MAP: &[&str] = &["map=x", "map=\"a b\"", "\"map=y\"", "map=", "map=a=b", "map"];
const GSS: &[&str] =
    &["krb_realm=R", "include_realm=0", "include_realm=1", "include_realm=x", "compat_realm=1", "map=m"];
const LDAP: &[&str] = &[
    "ldapserver=l",
    "ldapbasedn=\"dc=x, dc=y\"",
    "ldapprefix=\"cn=\"",
    "ldapsuffix=s",
    "ldaptls=1",
    "ldaptls=true",
    "ldapport=389",
    "ldapport=x",
    "ldapbinddn=b",
    "ldapbindpasswd=p",
    "ldapsearchattribute=a",
    "ldapscheme=ldaps",
    "ldapsearchfilter=\"(a=$username)\"",
    "ldapurl=ldap://h/dc=x?uid?sub",
    "ldapurl=ldap://h/dc=x??one?(a=b)",
];
const RADIUS: &[&str] = &[
    "radiusservers=127.0.0.1",
    "radiusservers=\"127.0.0.1,::1\"",
    "radiussecrets=a",
    "radiussecrets=\"a,b\"",
    "radiussecrets=\"a b\"",
    "radiusports=1812",
    "radiusports=\"1,2\"",
    "radiusports=x",
    "radiusidentifiers=\"i,j\"",
    "radiusidentifiers=\"\"\"i j\"\"\"",
];
const OAUTH: &[&str] = &[
    "issuer=i",
    "scope=\"s t\"",
    "validator=x",
    "validator=y",
    "delegate_ident_mapping=1",
    "delegate_ident_mapping=0",
    "map=m",
];
const ODD: &[&str] = &[
    "foo=bar",
    "=",
    "\"\"",
    "pamservice=p",
    "pam_use_hostname=1",
    "upn_username=1",
    "map=x",
    "ldapserver=l",
    "scope=s",
];

fn with(method: &'static str, options: &'static [&'static str], most: usize) -> Bytes {
    let options = prop::collection::vec(prop::sample::select(options), 0..=most);
    let line = options.prop_map(move |options| {
        let options: String = options.iter().flat_map(|option| [" ", option]).collect();
        format!("{method}{options}").into_bytes()
    });
    line.boxed()
}

fn method(kind: &str) -> Bytes {
    let common = prop_oneof![
        60 => one_of(&["trust", "reject", "md5", "password", "scram-sha-256", "\"trust\"", "ident"]),
        2 => with("pam", &ODD[3..5], 2),
        4 => with("ldap ldapserver=l ldapbasedn=x", LDAP, 2),
        2 => with("ldap", LDAP, 4),
        6 => with("radius radiusservers=127.0.0.1 radiussecrets=s", RADIUS, 2),
        2 => with("radius", RADIUS, 4),
        4 => with("oauth issuer=i scope=s", OAUTH, 2),
        1 => with("scram-sha-256", ODD, 2),
        1 => one_of(&["sspi", "bsd", "oauth", "TRUST", "trust,md5", "krb5", "", "@w1", "peer", "cert"]),
        1 => one_of(&["@method", "@method map=x"]),
    ];
    match kind {
        "local" => prop_oneof![4 => common, 1 => with("peer", MAP, 1), 1 => with("ident", MAP, 1)].boxed(),
        "hostssl" => prop_oneof![
            3 => common,
            1 => with("cert", CERTIFICATE, 1),
            1 => with("cert", MAP, 2),
            1 => with("md5", CERTIFICATE, 2),
        ]
        .boxed(),
        _ => prop_oneof![8 => common, 1 => with("gss", GSS, 2), 1 => with("ident", MAP, 1)].boxed(),
    }
}

fn blank() -> Bytes {
    let odd = one_of(&[" \\\n", "\\\n ", " \\\r\n ", "\\\n", "\0 \n "]);
    prop_oneof![60 => one_of(&[" "]), 30 => one_of(&["\t", "   ", " \t", "\r "]), 2 => odd].boxed()
}

fn rule() -> Bytes {
    let kinds = &["local", "local", "host", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc", "\"host\""];
    let kind = prop_oneof![40 => prop::sample::select(kinds), 1 => prop::sample::select(&["HOST", "include", "host,host", "@type"])];
    let fields = kind.prop_flat_map(|kind| {
        let (databases, users, method) = (names(), names(), method(kind));
        let fields = (Just(kind.as_bytes().to_vec()), databases, users, address(), method);
        fields.prop_map(|(kind, databases, users, address, method)| match kind.as_slice() {
            b"local" | b"@type" => vec![kind, databases, users, method],
            _ => vec![kind, databases, users, address, method],
        })
    });
    let blanks = prop::collection::vec(blank(), 5);
    let tail = prop_oneof![6 => one_of(&[""]), 2 => one_of(&[" # note", "#x", " \t", " # \"open", " # \\"])];
    let indent = prop_oneof![4 => one_of(&[""]), 1 => one_of(&[" ", "\t"])];
    let line = (indent, fields, blanks, tail).prop_map(|(indent, fields, blanks, tail)| {
        let words = fields.into_iter().zip(blanks).enumerate();
        let line = words.map(|(at, (word, blank))| if at == 0 { word } else { join(vec![blank, word]) });
        join(vec![indent, join(line.collect()), tail])
    });
    line.boxed()
}

fn line() -> Bytes {
    let cut = (rule(), any::<prop::sample::Index>()).prop_map(|(rule, at)| rule[..at.index(rule.len() + 1)].to_vec());
    let includes =
        &["include i1", "include_if_exists i2", "include_if_exists missing", "include_dir dir", "include \"i1\" # x"];
    let wrong = &["include missing", "include_dir missing", "include i1 x", "include", "include i2,i1"];
    prop_oneof![
        50 => rule(),
        8 => one_of(&["", "# comment", "  # \"x", "\t"]),
        5 => one_of(includes),
        1 => one_of(wrong),
        1 => cut,
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ]
    .boxed()
}

fn lines(most: usize) -> Bytes {
    let end = prop_oneof![40 => one_of(&["\n"]), 10 => one_of(&["\r\n"]), 2 => one_of(&["\n\n", " \n", "\\\n"])];
    let line = (line(), end).prop_map(|(line, end)| join(vec![line, end]));
    let lines = (prop::collection::vec(line, 0..most), any::<bool>()).prop_map(|(lines, cut)| {
        let mut all = join(lines);
        if cut {
            all.pop();
        }
        all
    });
    lines.boxed()
}

/// Words for an `@file`; none names one before it.
fn words(next: &'static str) -> Bytes {
    let plain = one_of(&["a", "b", "\"c d\"", "all", "+r", "/x", "\"@\""]);
    let word = prop_oneof![6 => plain, 1 => Just(next.as_bytes().to_vec())];
    let end = one_of(&[" ", ",", "\n", ", ", "\r\n", " # x\n"]);
    let words = prop::collection::vec((word, end).prop_map(|(word, end)| join(vec![word, end])), 0..5);
    words.prop_map(join).boxed()
}

/// What a file includes by its own name would never end.
fn without_includes(bytes: Vec<u8>) -> Vec<u8> {
    String::from_utf8(bytes).map_or(Vec::new(), |text| text.replace("include", "x").into_bytes())
}

/// pg_hba.conf, and files for it to name.
pub fn files() -> impl Strategy<Value = Vec<(&'static str, Vec<u8>)>> {
    let words = (words("@w2"), words("@\"w 3\""), words("@empty"));
    (lines(12), words, lines(3), lines(3), lines(3)).prop_map(|(main, words, i1, i2, directory)| {
        vec![
            ("pg_hba.conf", main),
            ("w1", words.0),
            ("w2", words.1),
            ("w 3", words.2),
            ("empty", Vec::new()),
            ("type", b"local".to_vec()),
            ("method", b"md5".to_vec()),
            ("i1", without_includes(i1)),
            ("i2", without_includes(i2)),
            ("dir/a.conf", without_includes(directory)),
            ("dir/b.conf", b"local dir_b all trust".to_vec()),
            ("dir/w1", b"in_dir".to_vec()),
        ]
    })
}
