// SPDX-License-Identifier: BSD-2-Clause
// Creating and destroying domains against a fake hypervisor and a real store: whole or not at all.
#include "toolstack/check.hpp"
#include "toolstack/core_dump.hpp"
#include "toolstack/devices.hpp"
#include "toolstack/domains.hpp"
#include "toolstack/paths.hpp"
#include "toolstack/resources.hpp"

#include "console/ring.hpp"
#include "domaind/domain_daemon.hpp"
#include "fake_machine.hpp"
#include "test_kernel.hpp"

#include <elf.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

namespace cero::toolstack {
namespace {

struct ToolstackTest : testing::Test {
    test::FakeControl control;
    test::LocalStore local;
    control::StoreClient store{local.client()};
    Machine machine{control, store};
    std::string kernel{testing::TempDir() + "/toolstack-kernel"};
    config::DomainConfig config;
    CreateOptions options;

    void SetUp() override {
        state_directory = testing::TempDir() + "/cero-state";
        console_socket = testing::TempDir() + "/cero-no-console";
        write_file(kernel, test::KernelRecipe{}.build());
        control.table[0].info.domain = 0;
        config.name = "guest";
        config.kernel = kernel;
        config.memory_mib = config.max_memory_mib = 8;
        config.vifs.emplace_back();
        options.device_timeout_ms = 200;
        local.idle = [this] { run_backends(); };
    }

    /// What backends do: get ready, and let go when they are told to.
    bool backends_work{true};
    void run_backends() {
        if (!backends_work)
            return;
        control::StoreClient backend = local.client();
        auto idle = std::exchange(local.idle, nullptr);
        for (const std::string_view kind : {disk_kind, interface_kind})
            for (const Device& device : list_devices(backend, kind, std::nullopt)) {
                const std::string path = backend_path(device.domain, kind, device.id) + "/state";
                if (device.backend_state == 1)
                    backend.write(path, "2");
                if (device.backend_state == 5)
                    backend.write(path, "6");
            }
        local.idle = std::move(idle);
    }
};

TEST_F(ToolstackTest, CreateAndDestroyLeaveNothing) {
    const std::size_t nodes = local.nodes();
    const std::size_t frames = control.free_frames();
    for (int round = 0; round < 5; ++round) {
        const cero_domid domain = create_domain(machine, config, options);
        EXPECT_TRUE(control.table[domain].is_running);
        EXPECT_EQ(find_domain(machine, "guest"), domain);
        EXPECT_EQ(find_domain(machine, std::to_string(domain)), domain);
        EXPECT_TRUE(local.introduced.contains(domain));
        EXPECT_EQ(list_devices(store, interface_kind, domain).size(), 1u);
        EXPECT_TRUE(saved_config(domain).has_value());
        EXPECT_EQ(store.read(domain_path(domain) + "/memory/target"), "8192");
        destroy_domain(machine, domain, 100);
        local.introduced.erase(domain);
        EXPECT_EQ(control.free_frames(), frames);
        EXPECT_FALSE(saved_config(domain));
        store.remove("/local/domain/0/backend"); // the emptied top directories may stay
        store.remove("/local/domain/0/error");
        store.remove("/vm");
        EXPECT_EQ(local.nodes(), nodes);
    }
    EXPECT_THROW((void)find_domain(machine, "guest"), Error);
}

TEST_F(ToolstackTest, EveryFailureTakesEverythingBack) {
    (void)create_domain(machine, config, options); // makes the top directories
    destroy_domain(machine, 1, 100);
    const std::size_t nodes = local.nodes();
    const std::size_t frames = control.free_frames();
    int failures = 0;
    for (int step = 0;; ++step) {
        control.calls = 0;
        control.fail_at = step;
        control.fail_with = step % 2 == 0 ? ENOMEM : ESRCH;
        try {
            const cero_domid domain = create_domain(machine, config, options);
            destroy_domain(machine, domain, 100);
            break; // past the last step
        } catch (const Error& error) {
            ++failures;
            EXPECT_NE(std::string{error.what()}, "");
        }
        EXPECT_EQ(control.table.size(), 1u) << step;
        EXPECT_EQ(control.free_frames(), frames) << step;
        EXPECT_EQ(local.nodes(), nodes) << step;
    }
    EXPECT_GT(failures, 12);
}

TEST_F(ToolstackTest, OtherCausesAreNamed) {
    const auto message = [&] {
        try {
            (void)create_domain(machine, config, options);
        } catch (const Error& error) {
            EXPECT_FALSE(error.remedy().empty()) << error.what();
            return std::string{error.what()};
        }
        return std::string{"(created)"};
    };
    const auto has = [](const std::string& text, const char* part) {
        EXPECT_NE(text.find(part), std::string::npos) << text;
    };
    const cero_domid first = create_domain(machine, config, options);
    has(message(), "the name is in use");
    config.name = "other";
    config.memory_mib = config.max_memory_mib = 4000;
    has(message(), "MiB are free");
    config.memory_mib = config.max_memory_mib = 2;
    has(message(), "too little memory");
    config.memory_mib = config.max_memory_mib = 8;
    config.disks.push_back({"/dev/nothing-here", "xvda", true, false, {}});
    has(message(), "No such file");
    config.disks[0].target = "/dev/null";
    has(message(), "no block device");
    config.disks.clear();
    local.refuses_introduction = true;
    has(message(), "XenStore cannot connect");
    local.refuses_introduction = false;
    backends_work = false;
    has(message(), "did not get ready");
    backends_work = true;
    config.cpus = {{false, false, false, false, true}};
    has(message(), "none of this machine's 2 CPUs");
    config.cpus.clear();
    config.kernel = "/nowhere";
    has(message(), "No such file");
    EXPECT_EQ(control.table.size(), 2u);
    destroy_domain(machine, first, 100);
    EXPECT_THROW(destroy_domain(machine, 0, 100), Error);
}

TEST_F(ToolstackTest, DryRunCreatesNothing) {
    options.check_only = true;
    const std::size_t nodes = local.nodes();
    EXPECT_EQ(create_domain(machine, config, options), 0);
    EXPECT_EQ(control.table.size(), 1u);
    EXPECT_EQ(local.nodes(), nodes);
}

TEST_F(ToolstackTest, DisksAreNotShared) {
    Requests requests;
    BlockTarget target{"/dev/vda1", "vda1", 254, 1};
    add_disk_nodes(requests, 3, config::parse_disk("/dev/vda1,,xvda,w"), target);
    store.send_all(requests, 0);
    EXPECT_THROW(check_disk_is_free(store, target, true, ""), Error);
    EXPECT_THROW(check_disk_is_free(store, target, false, ""), Error);
    EXPECT_THROW(check_disk_is_free(store, {"/dev/vda", "vda", 254, 0}, true, ""), Error);
    EXPECT_NO_THROW(check_disk_is_free(store, {"/dev/vda2", "vda2", 254, 2}, true, ""));
    EXPECT_NO_THROW(check_disk_is_free(store, {"/dev/vda10", "vda10", 254, 10}, true, ""));
    EXPECT_THROW(check_disk_is_free(store, {"/dev/vdb", "vdb", 254, 16}, true,
                                    "/dev/vdb1 /data ext2 rw,relatime 0 0\n"),
                 Error);
    EXPECT_NO_THROW(check_disk_is_free(store, {"/dev/vdb", "vdb", 254, 16}, false,
                                       "/dev/vdb1 /data ext2 ro,relatime 0 0\n"));
    EXPECT_TRUE(do_overlap("nvme0n1", "nvme0n1p2"));
    EXPECT_FALSE(do_overlap("nvme0n1", "nvme0n12"));
    EXPECT_FALSE(do_overlap("vda1", "vda12"));
    EXPECT_TRUE(do_overlap("vda12", "vda"));
}

TEST_F(ToolstackTest, TheDaemonDoesWhatTheConfigurationSays) {
    domaind::DomainDaemon daemon{control, store};
    const auto end = [&](cero_domid domain, control::ShutdownReason reason) {
        control.table[domain].info.flags = CERO_DOMINF_shutdown | static_cast<unsigned>(reason)
                                                                      << CERO_DOMINF_shutdownshift;
        daemon.look();
    };
    const cero_domid first = create_domain(machine, config, options);
    end(first, control::ShutdownReason::reboot);
    EXPECT_FALSE(control.domain(first));
    const cero_domid second = find_domain(machine, "guest");
    EXPECT_NE(second, first);
    EXPECT_EQ(control.table[second].info.handle[6], saved_config(second)->uuid->at(6));
    end(second, control::ShutdownReason::poweroff);
    EXPECT_EQ(control.table.size(), 1u);
    config.on_crash = config::Action::preserve;
    config.on_poweroff = config::Action::rename_restart;
    const cero_domid third = create_domain(machine, config, options);
    end(third, control::ShutdownReason::crash);
    EXPECT_TRUE(control.domain(third));
    destroy_domain(machine, third, 100);
    const cero_domid fourth = create_domain(machine, config, options);
    end(fourth, control::ShutdownReason::poweroff);
    EXPECT_TRUE(control.domain(fourth));
    EXPECT_EQ(name_of(store, fourth), fmt::format("guest-{}", fourth));
    const cero_domid fifth = find_domain(machine, "guest");
    control.destroy_domain(fifth); // behind the daemon's back
    daemon.look();
    EXPECT_FALSE(store.read(domain_path(fifth)));
}

/// What Error says, or "" when there is none.
template <typename Action>
std::string message_of(Action action) {
    try {
        action();
        return {};
    } catch (const Error& error) {
        return error.what();
    }
}

TEST_F(ToolstackTest, VcpusAreAskedForWithinTheirLimit) {
    config.vcpus = 1;
    config.max_vcpus = 3;
    const cero_domid domain = create_domain(machine, config, options);
    const auto states = [&] {
        std::string all;
        for (unsigned vcpu = 0; vcpu < 4; ++vcpu)
            all += store.read(availability_path(domain, vcpu)).value_or("none") + " ";
        return all;
    };
    EXPECT_EQ(states(), "online offline offline none ");
    set_vcpus(machine, domain, 3);
    EXPECT_EQ(states(), "online online online none ");
    set_vcpus(machine, domain, 2);
    EXPECT_EQ(states(), "online online offline none ");
    for (const unsigned count : {0u, 4u})
        EXPECT_NE(
            message_of([&] { set_vcpus(machine, domain, count); }).find("1 to 3 are possible"),
            std::string::npos);
    EXPECT_EQ(states(), "online online offline none ");
    EXPECT_NE(message_of([&] { set_vcpus(machine, 0, 1); }).find("control domain"),
              std::string::npos);
}

TEST_F(ToolstackTest, VcpusAreBoundToCpusThatExist) {
    const cero_domid domain = create_domain(machine, config, options);
    pin_vcpu(machine, domain, 0, config::parse_cpus("1-7"));
    EXPECT_EQ(config::cpus_text(control.affinity(domain, 0)), "1");
    EXPECT_NE(message_of([&] {
                  pin_vcpu(machine, domain, 0, config::parse_cpus("5"));
              }).find("none of these CPUs"),
              std::string::npos);
    EXPECT_NE(message_of([&] {
                  pin_vcpu(machine, domain, 9, config::parse_cpus("all"));
              }).find("it has no vCPU 9"),
              std::string::npos);
    EXPECT_EQ(config::cpus_text(control.affinity(domain, 0)), "1");
    pin_vcpu(machine, domain, 0, config::parse_cpus("all"));
    EXPECT_EQ(config::cpus_text(control.affinity(domain, 0)), "all");
}

TEST_F(ToolstackTest, MemoryMovesBelowItsMaximum) {
    config.max_memory_mib = 16;
    const cero_domid domain = create_domain(machine, config, options);
    const auto& fake = control.table[domain];
    const auto target = [&] { return store.read(domain_path(domain) + "/memory/target").value(); };
    EXPECT_EQ(fake.memory_map_kib, 16u * 1024);
    EXPECT_EQ(fake.info.max_pages, (8 * 1024 + memory_slack_kib) / 4);
    set_memory(machine, domain, 16);
    EXPECT_EQ(target(), "16384");
    EXPECT_EQ(fake.info.max_pages, (16 * 1024 + memory_slack_kib) / 4);
    set_memory(machine, domain, 4);
    EXPECT_EQ(target(), "4096");
    EXPECT_NE(message_of([&] { set_memory(machine, domain, 17); }).find("1 to 16 are possible"),
              std::string::npos);
    EXPECT_EQ(target(), "4096");
    EXPECT_NE(message_of([&] { set_memory_limit(machine, domain, 17); }).find("at most 16 MiB"),
              std::string::npos);
    EXPECT_NE(message_of([&] { set_memory_limit(machine, domain, 3); }).find("below the 4 MiB"),
              std::string::npos);
    set_memory_limit(machine, domain, 6);
    EXPECT_NE(message_of([&] { set_memory(machine, domain, 7); }).find("1 to 6 are possible"),
              std::string::npos);
}

TEST_F(ToolstackTest, CoreHoldsWhatTheGuestSees) {
    const cero_domid domain = create_domain(machine, config, options);
    const std::string path = testing::TempDir() + "/toolstack.core";
    ::unlink(path.c_str());
    const CoreDump core = dump_core(machine, domain, path, false);
    EXPECT_TRUE(core.is_whole);
    EXPECT_EQ(core.vcpus, 1u);
    EXPECT_TRUE(control.table[domain].is_running);
    const std::string text = read_file(path, 64 << 20).value();
    const auto* elf = reinterpret_cast<const Elf64_Ehdr*>(text.data());
    ASSERT_EQ(elf->e_type, ET_CORE);
    ASSERT_EQ(elf->e_phnum, core.mappings + 1);
    const auto* headers = reinterpret_cast<const Elf64_Phdr*>(text.data() + elf->e_phoff);
    EXPECT_EQ(headers[0].p_type, std::uint32_t{PT_NOTE});
    // The kernel's first bytes, at the address that its page tables give them.
    const cero_vcpu_guest_context& context = control.table[domain].context;
    bool found = false;
    for (unsigned i = 1; i < elf->e_phnum; ++i) {
        ASSERT_LE(headers[i].p_offset + headers[i].p_filesz, text.size());
        const std::uint64_t entry = context.user_regs.rip;
        if (entry < headers[i].p_vaddr || entry >= headers[i].p_vaddr + headers[i].p_filesz)
            continue;
        found = true;
        const std::string image = read_file(kernel, 64 << 20).value();
        const std::string_view code{
            text.data() + headers[i].p_offset + (entry - headers[i].p_vaddr), 16};
        EXPECT_NE(image.find(code), std::string::npos);
    }
    EXPECT_TRUE(found);
    EXPECT_NE(message_of([&] { dump_core(machine, domain, path, false); }).find("of this name"),
              std::string::npos);
    EXPECT_EQ(dump_core(machine, domain, path, true).pages, core.pages);
    EXPECT_NE(message_of([&] { dump_core(machine, 77, path, true); }).find("it is gone"),
              std::string::npos);
    ::unlink(path.c_str());
}

TEST(CoreDirectory, IsADiskWhenThereIsOne) {
    config::DomainConfig config;
    EXPECT_EQ(core_directory(config, "none / rootfs rw 0 0\n"), "/var/lib/cero/dump");
    EXPECT_EQ(core_directory(config, "/dev/vda3 /data ext2 rw 0 0\n"), "/data/cero-dump");
    config.core_directory = "/mnt/cores";
    EXPECT_EQ(core_directory(config, "/dev/vda3 /data ext2 rw 0 0\n"), "/mnt/cores");
}

TEST(CoreDirectory, LosesWhatWasLeftHalfWritten) {
    const std::string directory = testing::TempDir() + "/cores";
    make_directories(directory);
    for (const char* name : {"/a.core", "/b.core.part", "/c.part"})
        write_file(directory + name, "x");
    const std::string path = core_file(directory, 7, "web");
    EXPECT_TRUE(path.starts_with(directory + "/2") && path.ends_with("-web.7.core")) << path;
    EXPECT_TRUE(read_file(directory + "/a.core"));
    EXPECT_FALSE(read_file(directory + "/b.core.part"));
    EXPECT_TRUE(read_file(directory + "/c.part"));
}

TEST(CoreDirectory, KeepsTheNewestOfEachName) {
    const std::string directory = fmt::format("{}/many-cores-{}", testing::TempDir(), ::getpid());
    std::filesystem::remove_all(directory);
    make_directories(directory);
    const char* const others[] = {"20200101-000000-web-2.1.core", "20200101-000000-web.core",
                                  "20200101-000000-web.x.core",   "web.1.core",
                                  "2020010a-000000-web.1.core",   "20200101-000000-web.1.core.old"};
    for (const char* name : others)
        write_file(directory + "/" + name, "x");
    for (const int hour : {12, 10, 13, 11})
        write_file(fmt::format("{}/20261121-{}0000-web.{}.core", directory, hour, 99 - hour), "x");
    EXPECT_TRUE(remove_old_cores(directory, "web", 4).empty());
    EXPECT_EQ(remove_old_cores(directory, "web", 2),
              (std::vector{directory + "/20261121-100000-web.89.core",
                           directory + "/20261121-110000-web.88.core"}));
    EXPECT_FALSE(read_file(directory + "/20261121-100000-web.89.core"));
    EXPECT_TRUE(read_file(directory + "/20261121-120000-web.87.core"));
    EXPECT_TRUE(read_file(directory + "/20261121-130000-web.86.core"));
    for (const char* name : others)
        EXPECT_TRUE(read_file(directory + "/" + name)) << name;
    for (const int domain : {10, 8, 9})
        write_file(fmt::format("{}/20261121-140000-web.{}.core", directory, domain), "x");
    EXPECT_EQ(remove_old_cores(directory, "web", 1).size(), 4u);
    EXPECT_TRUE(read_file(directory + "/20261121-140000-web.10.core"));
    EXPECT_TRUE(remove_old_cores(directory + "/none", "web", 0).empty());
    std::filesystem::remove_all(directory);
}

TEST(CoreRoom, MemoryIsNotUsedUp) {
    constexpr std::uint64_t ext2 = 0xef53, tmpfs = 0x01021994, mib = 1 << 20;
    EXPECT_EQ(room_for_core(ext2, 1000, 90 * mib, 8 * mib, 0).bytes, 90 * mib);
    EXPECT_FALSE(room_for_core(ext2, 1000, 0, 8 * mib, 0).is_memory);
    EXPECT_EQ(room_for_core(tmpfs, 1000, 90 * mib, 8 * mib, 0).bytes, 4 * mib);
    EXPECT_EQ(room_for_core(tmpfs, 1000, 2 * mib, 8 * mib, 0).bytes, 2 * mib);
    EXPECT_EQ(room_for_core(0, 0, 0, 8 * mib, 0).bytes, 4 * mib);
    EXPECT_TRUE(room_for_core(0, 0, 0, 8 * mib, 0).is_memory);
    // Those that are there already count: one after the other does not use up more than one.
    EXPECT_EQ(room_for_core(tmpfs, 1000, 90 * mib, 5 * mib, 3 * mib).bytes, 1 * mib);
    EXPECT_EQ(room_for_core(0, 0, 0, 4 * mib, 4 * mib).bytes, 0u);
    EXPECT_EQ(room_for_core(0, 0, 0, 1 * mib, 7 * mib).bytes, 0u);
    EXPECT_EQ(room_for_core(ext2, 1000, 90 * mib, 8 * mib, 50 * mib).bytes, 90 * mib);
}

TEST_F(ToolstackTest, CheckFindsWhatIsWrong) {
    EXPECT_TRUE(check_machine(machine).problems.empty());
    store.write("/local/domain/77/name", "ghost");
    store.write("/local/domain/0/backend/vbd/77/51712/state", "4");
    const CheckReport report = check_machine(machine);
    EXPECT_EQ(report.problems.size(), 2u);
}

TEST_F(ToolstackTest, CheckAuditsTheFrames) {
    control.wrong_frames = 3;
    ASSERT_EQ(check_machine(machine).problems.size(), 1u);
    EXPECT_NE(check_machine(machine).problems[0].find("3 do not agree"), std::string::npos);
    control.wrong_frames.reset(); // Xen
    EXPECT_TRUE(check_machine(machine).problems.empty());
    for (const auto& [error, text] : {std::pair{EBUSY, "busy"}, {ENOMEM, "no memory"}}) {
        control.audit_fails_with = error; // unknown is not clean
        ASSERT_EQ(check_machine(machine).problems.size(), 1u);
        EXPECT_NE(check_machine(machine).problems[0].find(text), std::string::npos);
    }
}

TEST_F(ToolstackTest, CheckKnowsALoweredLimitFromAWrongOne) {
    const cero_domid domain = create_domain(machine, config, options);
    EXPECT_TRUE(check_machine(machine).problems.empty());
    set_memory(machine, domain, 4); // the guest has no balloon
    const CheckReport lowered = check_machine(machine);
    EXPECT_TRUE(lowered.problems.empty()) << lowered.problems.front();
    const auto figure =
        std::ranges::find(lowered.figures, fmt::format("domain {} pages to give back", domain),
                          &std::pair<std::string, std::uint64_t>::first);
    ASSERT_NE(figure, lowered.figures.end());
    EXPECT_GT(figure->second, 0u);
    control.table[domain].info.tot_pages = (config.max_memory_mib + 2) * 256;
    const auto problems = check_machine(machine).problems;
    ASSERT_FALSE(problems.empty());
    EXPECT_NE(problems[0].find("2560 pages, its limit is 2304"), std::string::npos) << problems[0];
}

TEST(ConsoleRing, PassesEveryByteAndSurvivesNonsense) {
    cero_console_page page{};
    page.in_cons = page.in_prod = page.out_cons = page.out_prod = 0xfffffff0;
    console::ConsoleRing ring{&page};
    std::string sent;
    std::string seen;
    for (int i = 0; i < 5000; ++i) {
        sent += static_cast<char>(i);
        page.out[page.out_prod++ % sizeof page.out] = static_cast<char>(i);
        if (i % 777 == 0) {
            EXPECT_TRUE(ring.take_output(seen));
        }
    }
    (void)ring.take_output(seen);
    EXPECT_EQ(seen, sent);
    EXPECT_FALSE(ring.take_output(seen));
    EXPECT_EQ(ring.give_input(std::string(2000, 'x')), sizeof page.in);
    EXPECT_EQ(ring.give_input("y"), 0u);
    page.out_prod += 100000;
    EXPECT_FALSE(ring.take_output(seen));
    EXPECT_TRUE(ring.is_broken());
    page.in_cons += 100000;
    EXPECT_EQ(ring.give_input("abc"), 3u);
}

TEST(History, KeepsTheLastBytes) {
    console::History history{100};
    for (int i = 0; i < 1000; ++i)
        history.append(std::to_string(i % 10));
    EXPECT_EQ(history.last(5), "56789");
    EXPECT_EQ(history.last(1000).size(), 100u);
    history.append(std::string(500, 'z'));
    EXPECT_EQ(history.last(1000), std::string(100, 'z'));
}

} // namespace
} // namespace cero::toolstack
