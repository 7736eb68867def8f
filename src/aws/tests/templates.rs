//! Launch templates on the wire.
use super::{ec2, run, server::*, strings};
use crate::template_name;
use burst_cloud::{Cloud, TemplateSpec};
use burst_policy::{TypeFacts, classify::Class, types::Card};

pub(crate) fn spec() -> TemplateSpec {
    TemplateSpec {
        cluster: "uuid".into(),
        pool: "efa".into(),
        facts: TypeFacts {
            name: "hpc7a.96xlarge".into(),
            vcpus: 192,
            cores: 192,
            memory_mib: 786_432,
            gpus: 0,
            efa_max: 2,
            cards: vec![
                Card { index: 0, interfaces: 2, efa: true },
                Card { index: 1, interfaces: 2, efa: true },
            ],
            on_demand: true,
            spot: false,
        },
        efa: 2,
        image: "ami-1".into(),
        security_groups: strings(&["sg-1", "sg-2"]),
        instance_profile: Some("SlurmNode".into()),
        key_name: Some("key".into()),
        root_gib: Some(64),
        public_ip: false,
        user_data: "{\"burst_node\":{}}".into(),
        reservation: None,
    }
}

const IMAGE: &str = "<imagesSet><item><imageId>ami-1</imageId><rootDeviceName>/dev/xvda</rootDeviceName>\
    <blockDeviceMapping><item><deviceName>/dev/xvda</deviceName><ebs><volumeSize>30</volumeSize></ebs></item>\
    <item><deviceName>/dev/sdb</deviceName><virtualName>ephemeral0</virtualName></item>\
    </blockDeviceMapping></item></imagesSet>";
const NONE: &str = "<launchTemplates/>";

fn found(name: &str) -> String {
    format!(
        "<launchTemplates><item><launchTemplateId>lt-1</launchTemplateId><launchTemplateName>{name}\
         </launchTemplateName></item></launchTemplates>"
    )
}

#[test]
fn a_new_template_is_made_of_exactly_this() {
    let server = Server::start(|_, p| match p["Action"].as_str() {
        "DescribeLaunchTemplates" => ok("DescribeLaunchTemplates", NONE),
        "DescribeImages" => ok("DescribeImages", IMAGE),
        _ => ok(
            "CreateLaunchTemplate",
            "<launchTemplate><launchTemplateId>lt-1</launchTemplateId></launchTemplate>",
        ),
    });
    let made = run(async { ec2(&server.url).await.ensure_template(&spec()).await }).unwrap();
    assert_eq!((made.id.as_str(), made.version.as_str()), ("lt-1", "1"));
    assert_eq!(server.actions(), ["DescribeLaunchTemplates", "DescribeImages", "CreateLaunchTemplate"]);
    let mut got = server.asked().pop().unwrap();
    // The SDK's own idempotency token is random.
    assert!(got.remove("ClientToken").is_some());
    let name = template_name(&spec()).unwrap();
    let data = |k: &str| format!("LaunchTemplateData.{k}");
    let mut want = Params::new();
    for (k, v) in [
        ("ImageId", "ami-1"),
        ("InstanceInitiatedShutdownBehavior", "terminate"),
        ("KeyName", "key"),
        ("UserData", "eyJidXJzdF9ub2RlIjp7fX0="),
        ("IamInstanceProfile.Name", "SlurmNode"),
        ("MetadataOptions.HttpTokens", "required"),
        ("MetadataOptions.HttpEndpoint", "enabled"),
        ("MetadataOptions.HttpPutResponseHopLimit", "2"),
        ("MetadataOptions.InstanceMetadataTags", "enabled"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.Ebs.Encrypted", "true"),
        ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true"),
        ("BlockDeviceMapping.1.Ebs.VolumeSize", "64"),
    ] {
        want.insert(data(k), v.into());
    }
    for (i, (card, device, kind)) in
        [("0", "0", "interface"), ("0", "1", "efa-only"), ("1", "0", "efa-only")].iter().enumerate()
    {
        let at = data(&format!("NetworkInterface.{}", i + 1));
        for (k, v) in [
            ("NetworkCardIndex", card),
            ("DeviceIndex", device),
            ("InterfaceType", kind),
            ("DeleteOnTermination", &"true"),
            ("SecurityGroupId.1", &"sg-1"),
            ("SecurityGroupId.2", &"sg-2"),
        ] {
            want.insert(format!("{at}.{k}"), (*v).to_owned());
        }
    }
    for (k, v) in [
        ("Action", "CreateLaunchTemplate"),
        ("Version", "2016-11-15"),
        ("LaunchTemplateName", name.as_str()),
        ("TagSpecification.1.ResourceType", "launch-template"),
        ("TagSpecification.1.Tag.1.Key", "slurm-burst:cluster"),
        ("TagSpecification.1.Tag.1.Value", "uuid"),
        ("TagSpecification.1.Tag.2.Key", "slurm-burst:pool"),
        ("TagSpecification.1.Tag.2.Value", "efa"),
    ] {
        want.insert(k.into(), v.into());
    }
    assert_eq!(got, want);
}

#[test]
fn one_plain_interface_says_about_its_public_address() {
    let server = Server::start(|_, p| match p["Action"].as_str() {
        "DescribeLaunchTemplates" => ok("DescribeLaunchTemplates", NONE),
        "DescribeImages" => ok("DescribeImages", IMAGE),
        _ => ok(
            "CreateLaunchTemplate",
            "<launchTemplate><launchTemplateId>lt-1</launchTemplateId></launchTemplate>",
        ),
    });
    let spec = TemplateSpec {
        efa: 0,
        public_ip: true,
        root_gib: None,
        instance_profile: Some("arn:aws:iam::1:instance-profile/x".into()),
        ..spec()
    };
    run(async { ec2(&server.url).await.ensure_template(&spec).await }).unwrap();
    let got = server.asked().pop().unwrap();
    assert_eq!(got["LaunchTemplateData.NetworkInterface.1.AssociatePublicIpAddress"], "true");
    assert_eq!(got["LaunchTemplateData.IamInstanceProfile.Arn"], "arn:aws:iam::1:instance-profile/x");
    assert_eq!(got["LaunchTemplateData.BlockDeviceMapping.1.Ebs.Encrypted"], "true");
    assert!(!got.contains_key("LaunchTemplateData.BlockDeviceMapping.1.Ebs.VolumeSize"));
    assert!(!got.contains_key("LaunchTemplateData.NetworkInterface.2.DeviceIndex"));
}

#[test]
fn an_existing_template_is_found_and_a_lost_race_is_success() {
    let name = template_name(&spec()).unwrap();
    let body = found(&name);
    let server = Server::start(move |_, _| ok("DescribeLaunchTemplates", &body));
    let made = run(async { ec2(&server.url).await.ensure_template(&spec()).await }).unwrap();
    assert_eq!((made.id.as_str(), server.asked().len()), ("lt-1", 1));
    assert_eq!(server.asked()[0]["Filter.1.Value.1"], name);

    let body = found(&name);
    let server = Server::start(move |n, p| match p["Action"].as_str() {
        "DescribeLaunchTemplates" => ok("DescribeLaunchTemplates", if n < 5 { NONE } else { &body }),
        "DescribeImages" => ok("DescribeImages", IMAGE),
        _ => err(400, "InvalidLaunchTemplateName.AlreadyExistsException", "exists"),
    });
    let made = run(async { ec2(&server.url).await.ensure_template(&spec()).await }).unwrap();
    assert_eq!((made.id.as_str(), server.asked().len()), ("lt-1", 5));
}

#[test]
fn names_follow_content_only() {
    let base = template_name(&spec()).unwrap();
    assert!(base.starts_with("burst-efa-") && base.len() == "burst-efa-".len() + 12);
    let mut same = spec();
    same.facts.name = "hpc7a.48xlarge".into();
    same.facts.vcpus = 96;
    assert_eq!(template_name(&same).unwrap(), base);
    for change in [
        (|s| s.cluster.push('x')) as fn(&mut TemplateSpec),
        |s| s.efa = 1,
        |s| s.image.push('x'),
        |s| s.security_groups.truncate(1),
        |s| s.instance_profile = None,
        |s| s.key_name = None,
        |s| s.root_gib = None,
        |s| s.user_data.push(' '),
    ] {
        let mut other = spec();
        change(&mut other);
        assert_ne!(template_name(&other).unwrap(), base);
    }
}

#[test]
fn what_ec2_would_refuse_at_launch_is_refused_now() {
    let server = Server::start(|_, p| match p["Action"].as_str() {
        "DescribeLaunchTemplates" => ok("DescribeLaunchTemplates", NONE),
        _ => ok("DescribeImages", IMAGE),
    });
    for (change, code) in [
        ((|s| s.user_data = "x".repeat(16 * 1024 + 1)) as fn(&mut TemplateSpec), "UserDataTooLong"),
        (|s| s.public_ip = true, "PublicAddressWithSeveralInterfaces"),
        (|s| s.efa = 3, "TooFewEfa"),
        (|s| s.root_gib = Some(8), "RootTooSmall"),
    ] {
        let mut s = spec();
        change(&mut s);
        let e = run(async { ec2(&server.url).await.ensure_template(&s).await }).unwrap_err();
        assert_eq!((e.code.as_str(), e.class), (code, Class::Configuration), "{e}");
    }
    let mut s = spec();
    s.user_data = "x".repeat(16 * 1024);
    assert!(template_name(&s).is_ok());
    assert!(!server.actions().contains(&"CreateLaunchTemplate".to_owned()));
}

#[test]
fn the_sites_template_is_looked_up_and_checked_for_efa() {
    fn body(kind: &str) -> String {
        format!(
            "<launchTemplateVersionSet><item><launchTemplateId>lt-9</launchTemplateId><versionNumber>7</versionNumber>\
             <launchTemplateData><networkInterfaceSet><item><interfaceType>{kind}</interfaceType></item>\
             </networkInterfaceSet></launchTemplateData></item></launchTemplateVersionSet>"
        )
    }
    let server = Server::start(|n, _| {
        ok("DescribeLaunchTemplateVersions", &body(if n == 1 { "efa-only" } else { "interface" }))
    });
    run(async {
        let ec2 = ec2(&server.url).await;
        let t = ec2.site_template("lt-0123456789abcdef0", true).await.unwrap();
        assert_eq!((t.id.as_str(), t.version.as_str()), ("lt-9", "7"));
        let e = ec2.site_template("our-nodes", true).await.unwrap_err();
        assert_eq!((e.code.as_str(), e.class), ("NoEfaInterfaces", Class::Configuration));
        assert!(ec2.site_template("our-nodes", false).await.is_ok());
    });
    let asked = server.asked();
    assert_eq!(asked[0]["LaunchTemplateId"], "lt-0123456789abcdef0");
    assert_eq!(asked[1]["LaunchTemplateName"], "our-nodes");
    assert_eq!(asked[0]["LaunchTemplateVersion.1"], "$Default");
}
