// SPDX-License-Identifier: BSD-2-Clause
// Configurations: syntax, positions of mistakes, disks, interfaces, CPUs.
#include "base/nearest.hpp"
#include "config/domain_config.hpp"

#include <gtest/gtest.h>

#include <random>

namespace cero::config {
namespace {

std::string error_of(const std::string& text) {
    try {
        (void)interpret(parse(text, "f.cfg"), "f.cfg");
    } catch (const ConfigError& error) {
        EXPECT_EQ(error.code(), ExitCode::usage);
        return error.what();
    }
    return "(accepted)";
}

const std::string base = "name=\"g\"\nkernel=\"/k\"\nmemory=64\n";

TEST(Config, AWholeFile) {
    const DomainConfig config = interpret(parse(R"(
# a guest
name    = "web1"          # with a comment
kernel  = '/boot/cero-kernel'; ramdisk = "/boot/guest.img"
extra   = "console=hvc0 quiet"
root    = "/dev/xvda1 ro"
memory  = 0x40
maxmem  = 128
vcpus   = 2
cpus    = "0-3,^2"
uuid    = "01234567-89ab-cdef-0123-456789abcdef"
cpu_weight = 512
cap     = 50
type    = "pv"
disk = [ 'phy:/dev/vda1,xvda,w',
         "format=raw, vdev=xvdb, access=ro, target=/dev/a,b=c", # commas and = in a target
         '/dev/vda3,,xvdc' , ]
vif = [ 'mac=00:16:3e:01:02:03, bridge=xenbr1', '' ]
on_poweroff = "preserve"
on_reboot = "rename-restart"
on_crash = 'restart'
)",
                                                "f.cfg"),
                                          "f.cfg");
    EXPECT_EQ(config.name, "web1");
    EXPECT_EQ(config.command_line, "root=/dev/xvda1 ro console=hvc0 quiet");
    EXPECT_EQ(config.memory_mib, 64u);
    EXPECT_EQ(config.max_memory_mib, 128u);
    EXPECT_EQ(config.cpus.size(), 1u);
    EXPECT_EQ(config.cpus[0], (std::vector<bool>{true, true, false, true}));
    ASSERT_EQ(config.disks.size(), 3u);
    EXPECT_EQ(config.disks[0].device_id(), 51712u);
    EXPECT_EQ(config.disks[1].target, "/dev/a,b=c");
    EXPECT_FALSE(config.disks[1].is_writable);
    EXPECT_EQ(config.disks[2].vdev, "xvdc");
    ASSERT_EQ(config.vifs.size(), 2u);
    EXPECT_EQ(format_mac(*config.vifs[0].mac), "00:16:3e:01:02:03");
    EXPECT_EQ(config.vifs[0].bridge, "xenbr1");
    EXPECT_EQ(config.on_reboot, Action::rename_restart);
    EXPECT_EQ(config.weight, 512u);
    // What is saved for a reboot gives the same domain again.
    const DomainConfig again = interpret(parse(to_text(config), "saved"), "saved");
    EXPECT_EQ(to_text(again), to_text(config));
    EXPECT_EQ(again.disks, config.disks);
    EXPECT_EQ(again.vifs, config.vifs);
    EXPECT_EQ(again.uuid, config.uuid);
}

TEST(Nearest, FindsSlipsAndDoesNotGuess) {
    const std::vector<std::string_view> known{"create", "list", "vcpu-list", "vcpu-set", "memory"};
    EXPECT_EQ(nearest("list", known), "list");
    EXPECT_EQ(nearest("lst", known), "list");
    EXPECT_EQ(nearest("lsit", known), "list");
    EXPECT_EQ(nearest("craete", known), "create");
    EXPECT_EQ(nearest("memroy", known), "memory");
    EXPECT_EQ(nearest("vcpu-lists", known), "vcpu-list");
    EXPECT_EQ(nearest("vcpuset", known), "vcpu-set");
    EXPECT_EQ(nearest("destroy", known), "");
    EXPECT_EQ(nearest("", known), "");
    EXPECT_EQ(nearest("l", known), "");
    EXPECT_EQ(nearest(std::string(1 << 20, 'x'), known), "");
    EXPECT_EQ(nearest("list", {}), "");
}

TEST(Config, UnknownSettingNamesTheOneMeant) {
    const auto remedy_of = [](const std::string& text) {
        try {
            (void)interpret(parse(text, "f.cfg"), "f.cfg");
        } catch (const ConfigError& error) {
            return error.remedy();
        }
        return std::string{"(accepted)"};
    };
    EXPECT_EQ(remedy_of(base + "memroy = 5"),
              "Did you mean \"memory\"? cero.cfg(5) lists all settings.");
    EXPECT_EQ(remedy_of(base + "colour = 5"), "cero.cfg(5) lists all settings.");
}

TEST(Config, MistakesHaveTheirPlace) {
    const auto expect = [](const std::string& text, const std::string& message) {
        const std::string error = error_of(text);
        EXPECT_TRUE(error.starts_with(message)) << error << "\n expected " << message;
    };
    expect(base + "memroy = 5", "f.cfg:4:1: unknown setting \"memroy\"");
    expect(base + "  vnc = 1", "f.cfg:4:3: \"vnc\" is a setting of xl that Cero does not support");
    expect(base + "vcpus = \"two\"", "f.cfg:4:9: \"vcpus\" must be a number");
    expect(base + "vcpus = 0", "f.cfg:4:9: \"vcpus\" is 0; 1 to 128 is possible");
    expect(base + "extra = console", "f.cfg:4:9: expected a number, a quoted string");
    expect(base + "extra = \"console", "f.cfg:4:9: this string is never closed");
    expect(base + "disk = [ \"a,raw,xvda\"", "f.cfg:4:8: this \"[\" is never closed");
    expect(base + "disk = [\n \"a,raw,xvda\"\n \"b\" ]", "f.cfg:6:2: expected \",\" or \"]\"");
    expect(base + "disk = [\n \"/dev/a,qcow2,xvda\" ]", "f.cfg:5:2: disk format \"qcow2\"");
    expect(base + "disk = \"x\"", "f.cfg:4:8: \"disk\" must be a list");
    expect(base + "disk = [ 5 ]", "f.cfg:4:10: each item of \"disk\"");
    expect(base + "on_crash = \"explode\"", "f.cfg:4:12: \"explode\" is no action");
    expect(base + "extra = \"a\\q\"", "f.cfg:4:12: unknown escape");
    expect(base + "vcpus 4", "f.cfg:4:7: expected \"=\"");
    expect(base + "vcpus = 4 5", "f.cfg:4:11: unexpected text");
    expect(base + "= 4", "f.cfg:4:1: expected the name");
    expect(base + "type = \"hvm\"", "f.cfg:4:8: type \"hvm\"");
    expect(base + "maxmem = 32", "f.cfg:4:10: \"maxmem\" (32 MiB) is below");
    expect(base + "cmdline=\"a\"\nextra=\"b\"", "f.cfg:4:1: \"cmdline\" replaces");
    expect(base + "disk=['/a,,xvda','/b,,xvda']", "f.cfg:4:6: two disks are called");
    expect("kernel=\"/k\"\nmemory=64", "f.cfg:1:1: the setting \"name\" is missing");
    expect("name=\"a/b\"\nkernel=\"/k\"\nmemory=64",
           "f.cfg:1:6: \"a/b\" cannot be a domain's name");
    expect("name=\"17\"\nkernel=\"/k\"\nmemory=64", "f.cfg:1:6: \"17\" cannot be");
    expect(base + "uuid=\"123\"", "f.cfg:4:6: \"uuid\" must look like");
    expect(base + "cpus=\"5-2\"", "f.cfg:4:6: \"5-2\" is no CPU");
    expect(base + "vif=['mac=01:16:3e:00:00:01']", "f.cfg:4:6: \"01:16:3e:00:00:01\" is no MAC");
    expect(base + "vif=['model=e1000']",
           "f.cfg:4:6: \"model=e1000\" of an interface is known to xl");
    expect(base + "vif=['speed=1']", "f.cfg:4:6: unknown key \"speed\"");
    expect(base + std::string("extra=\"a\0b\"", 11), "f.cfg:4:9: a NUL byte");
}

TEST(Config, LaterSettingsWinAndAppend) {
    auto settings =
        parse(base + "disk=['/a,,xvda']\ndisk+=['/b,,xvdb']\nextra=\"a\"\nextra+=\" b\"", "f");
    settings.push_back(parse_override("memory=32"));
    settings.push_back(parse_override("name=other"));
    settings.push_back(parse_override("vif=['bridge=br7']"));
    const DomainConfig config = interpret(settings, "f");
    EXPECT_EQ(config.disks.size(), 2u);
    EXPECT_EQ(config.command_line, "a b");
    EXPECT_EQ(config.memory_mib, 32u);
    EXPECT_EQ(config.name, "other");
    EXPECT_EQ(config.vifs.at(0).bridge, "br7");
    EXPECT_THROW((void)parse_override("memory"), Error);
    EXPECT_THROW((void)parse_override("disk=['x"), Error);
}

TEST(Config, VirtualDevices) {
    EXPECT_EQ(device_id_of("xvda"), 51712u);
    EXPECT_EQ(device_id_of("xvdb1"), 51729u);
    EXPECT_EQ(device_id_of("xvdp15"), (202u << 8) + 255);
    EXPECT_EQ(device_id_of("xvdq"), (1u << 28) + (16u << 8));
    EXPECT_EQ(device_id_of("xvdaa"), (1u << 28) + (26u << 8));
    EXPECT_EQ(device_id_of("xvda16"), (1u << 28) + 16);
    EXPECT_EQ(device_id_of("51712"), 51712u);
    for (const char* bad : {"", "xvd", "xvd1", "xvda0", "sda", "xvda1x", "xvda999", "0"})
        EXPECT_FALSE(device_id_of(bad)) << bad;
    for (const char* name : {"xvda", "xvdc3", "xvdq", "xvdaa2", "xvdzz"})
        EXPECT_EQ(vdev_of(*device_id_of(name)), name);
}

TEST(Config, DiskSyntaxes) {
    const auto same = [](std::string_view a, std::string_view b) {
        EXPECT_EQ(parse_disk(a), parse_disk(b)) << a << " | " << b;
    };
    same("phy:/dev/vda1,xvda,w", "/dev/vda1,raw,xvda,rw");
    same("/dev/vda1,raw,xvda", "format=raw,vdev=xvda,access=rw,target=/dev/vda1");
    same("/dev/vda1,,xvda,r", "vdev=xvda,access=ro,/dev/vda1");
    same("raw:/dev/vda1,xvda,w", "/dev/vda1,raw,xvda,w,direct-io-safe,devtype=disk");
    EXPECT_FALSE(parse_disk("/dev/vda1,raw,xvda,w").persistent_grants);
    EXPECT_TRUE(parse_disk("/dev/vda1,raw,xvda,w,persistent-grants").persistent_grants);
    for (const char* bad : {"", "/dev/a", "/dev/a,raw", "/dev/a,raw,xvda,x", "file:/a.img,xvda,w",
                            "/dev/a,raw,xvda,w,more", "/dev/a,raw,xvda,w,colour=red", ",raw,xvda",
                            "/dev/a,raw,hda", "/dev/a,raw,xvda,w,cdrom", "target="})
        EXPECT_THROW((void)parse_disk(bad), SpecError) << bad;
}

TEST(Config, RandomTextNeverDoesHarm) {
    std::mt19937 random{9};
    const std::string alphabet = "name=\"'[],;#\n\\ x0123memorydiskvifphy:/+-_\t";
    for (int round = 0; round < 20000; ++round) {
        std::string text = random() % 2 == 0 ? base : "";
        for (std::size_t i = random() % 60; i > 0; --i)
            text += alphabet[random() % alphabet.size()];
        try {
            const DomainConfig config = interpret(parse(text, "f"), "f");
            const DomainConfig again = interpret(parse(to_text(config), "f"), "f");
            ASSERT_EQ(to_text(again), to_text(config));
        } catch (const Error&) {
        }
    }
}

} // namespace
} // namespace cero::config
