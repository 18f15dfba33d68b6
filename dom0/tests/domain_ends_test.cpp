// SPDX-License-Identifier: BSD-2-Clause
// Domains that end: what is kept of them, what others see of them meanwhile, who notices.
#include "toolstack/domains.hpp"
#include "toolstack/paths.hpp"

#include "domaind/domain_daemon.hpp"
#include "fake_machine.hpp"
#include "test_kernel.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

namespace cero::toolstack {
namespace {

/// A console service of one thread: takes requests, asks the test what to answer.
class FakeConsoleService {
public:
    using Answer = std::function<std::string(const std::string& request)>;
    explicit FakeConsoleService(Answer answer)
        : answer_{std::move(answer)}, listener_{listen_unix(console_socket)}, thread_{[this] {
              serve();
          }} {}
    ~FakeConsoleService() {
        ::shutdown(listener_.get(), SHUT_RDWR);
        thread_.join();
        ::unlink(console_socket.c_str());
    }
    FakeConsoleService(const FakeConsoleService&) = delete;
    FakeConsoleService& operator=(const FakeConsoleService&) = delete;

private:
    void serve() {
        std::vector<Fd> kept; // one that is not answered stays open
        for (;;) {
            pollfd wait{listener_.get(), POLLIN, 0};
            (void)::poll(&wait, 1, -1);
            Fd client{::accept(listener_.get(), nullptr, nullptr)};
            if (!client)
                return;
            char buffer[64];
            const ssize_t n = ::recv(client.get(), buffer, sizeof buffer, 0);
            const std::string answer = answer_(std::string(buffer, static_cast<std::size_t>(n)));
            if (!answer.empty())
                (void)write_all(client.get(), answer);
            kept.push_back(std::move(client));
        }
    }

    Answer answer_;
    Fd listener_;
    std::thread thread_;
};

struct DomainEndsTest : testing::Test {
    test::FakeControl control;
    test::LocalStore local;
    control::StoreClient store{local.client()};
    Machine machine{control, store};
    config::DomainConfig config;
    CreateOptions options;
    domaind::DomainDaemon daemon{control, store};

    void SetUp() override {
        state_directory = testing::TempDir() + "/cero-ends";
        console_socket = testing::TempDir() + "/cero-ends-console";
        config.name = "guest";
        config.kernel = testing::TempDir() + "/ends-kernel";
        write_file(config.kernel, test::KernelRecipe{}.build());
        control.table[0].info.domain = 0;
        config.memory_mib = config.max_memory_mib = 8;
        options.device_timeout_ms = 200;
    }
    void end(cero_domid domain, control::ShutdownReason reason) {
        control.table[domain].info.flags = CERO_DOMINF_shutdown | static_cast<unsigned>(reason)
                                                                      << CERO_DOMINF_shutdownshift;
        daemon.look();
    }
};

TEST_F(DomainEndsTest, LastWordsAreKeptWhileTheDomainIsThere) {
    std::vector<std::string> requests;
    FakeConsoleService service{[&](const std::string& request) {
        cero_domid domain{};
        EXPECT_EQ(std::sscanf(request.c_str(), "save %hu\n", &domain), 1) << request;
        EXPECT_TRUE(control.table.contains(domain)); // the service maps its ring
        EXPECT_TRUE(local.client().read(domain_path(domain) + "/console/ring-ref"));
        requests.push_back(request);
        return "ok\n";
    }};
    for (const config::Action action :
         {config::Action::destroy, config::Action::restart, config::Action::rename_restart}) {
        config.on_crash = action;
        const cero_domid domain = create_domain(machine, config, options);
        requests.clear();
        end(domain, control::ShutdownReason::crash);
        EXPECT_FALSE(requests.empty()) << config::action_name(action);
        if (action != config::Action::destroy)
            destroy_domain(machine, find_domain(machine, "guest"), 100);
    }
    const cero_domid domain = create_domain(machine, config, options);
    requests.clear();
    destroy_domain(machine, domain, 100); // by hand
    EXPECT_EQ(requests, std::vector{fmt::format("save {}\n", domain)});
}

TEST_F(DomainEndsTest, CreationNoticesThatItsDomainIsDestroyed) {
    config.vifs.emplace_back();
    options.device_timeout_ms = 60000;
    local.idle = [this] { // no backend: it waits
        const auto idle = std::exchange(local.idle, nullptr);
        control::StoreClient other = local.client();
        Machine elsewhere{control, other};
        destroy_domain(elsewhere, find_domain(elsewhere, "guest"), 10);
    };
    const std::uint64_t begun = monotonic_ns();
    try {
        (void)create_domain(machine, config, options);
        ADD_FAILURE() << "it was created";
    } catch (const Error& error) {
        EXPECT_NE(std::string{error.what()}.find("it vanished while it was created"),
                  std::string::npos)
            << error.what();
        EXPECT_EQ(error.remedy(), "Somebody destroyed it at the same time.");
        EXPECT_EQ(error.code(), ExitCode::failed);
    }
    EXPECT_LT(monotonic_ns() - begun, 20'000'000'000u);
    EXPECT_EQ(control.table.size(), 1u);
}

TEST_F(DomainEndsTest, ADomainHasANameAsLongAsItIsThere) {
    std::set<cero_domid> named;
    int looks = 0;
    const auto look = [&] {
        control::StoreClient other = local.client();
        for (const auto& [domain, info] : control.table) {
            if (domain == 0)
                continue;
            if (other.read(domain_path(domain) + "/name"))
                named.insert(domain);
            EXPECT_TRUE(!named.contains(domain) || other.read(domain_path(domain) + "/name"))
                << "domain " << domain;
            ++looks;
        }
    };
    local.served = look;
    for (const config::Action action :
         {config::Action::destroy, config::Action::restart, config::Action::rename_restart}) {
        config.on_reboot = action;
        const cero_domid domain = create_domain(machine, config, options);
        end(domain, control::ShutdownReason::reboot);
        if (action == config::Action::rename_restart) {
            EXPECT_EQ(name_of(store, domain), fmt::format("guest-{}", domain));
        }
        if (action != config::Action::destroy)
            destroy_domain(machine, find_domain(machine, "guest"), 100);
    }
    EXPECT_GT(looks, 100);
    EXPECT_EQ(control.table.size(), 2u); // the renamed one
}

TEST_F(DomainEndsTest, ACrashLoopLeavesFewCoresAndIsStopped) {
    config.on_crash = config::Action::coredump_restart;
    config.core_directory = fmt::format("{}/cero-ends-cores-{}", testing::TempDir(), ::getpid());
    std::filesystem::remove_all(config.core_directory);
    const auto cores = [&] {
        std::set<std::string> names;
        for (const auto& entry : std::filesystem::directory_iterator{config.core_directory})
            names.insert(entry.path().filename().string().substr(16)); // without the time
        return names;
    };
    (void)create_domain(machine, config, options);
    std::vector<cero_domid> ended;
    for (int crash = 1; crash <= 5; ++crash) {
        ended.push_back(find_domain(machine, "guest"));
        end(ended.back(), control::ShutdownReason::crash);
        ASSERT_NE(find_domain(machine, "guest"), ended.back());
    }
    std::set<std::string> newest;
    for (const cero_domid domain : {ended[2], ended[3], ended[4]})
        newest.insert(fmt::format("guest.{}.core", domain));
    EXPECT_EQ(cores(), newest);
    end(find_domain(machine, "guest"), control::ShutdownReason::crash);
    EXPECT_EQ(control.table.size(), 1u) << "it is started again and again";
    EXPECT_EQ(cores(), newest) << "a core of one that is not started again";
    const cero_domid again = create_domain(machine, config, options); // by hand: afresh
    end(again, control::ShutdownReason::crash);
    EXPECT_NE(find_domain(machine, "guest"), again);
    std::filesystem::remove_all(config.core_directory);
}

TEST_F(DomainEndsTest, ACrashLoopLeavesFewDomains) {
    config.on_crash = config::Action::rename_restart;
    (void)create_domain(machine, config, options);
    std::set<cero_domid> kept;
    for (int crash = 1; crash <= 5; ++crash) {
        const cero_domid domain = find_domain(machine, "guest");
        end(domain, control::ShutdownReason::crash);
        ASSERT_NE(find_domain(machine, "guest"), domain);
        if (crash <= 3)
            kept.insert(domain);
        EXPECT_EQ(control.table.size(), 2u + kept.size()); // dom0 and the one that runs
    }
    for (const cero_domid domain : kept)
        EXPECT_EQ(name_of(store, domain), fmt::format("guest-{}", domain));
    end(find_domain(machine, "guest"), control::ShutdownReason::crash);
    EXPECT_EQ(control.table.size(), 1u + kept.size());
}

TEST(RestartBrake, StopsAQuickLoop) {
    constexpr std::uint64_t second = 1'000'000'000, begin = 5000 * second;
    for (const bool is_lasting : {false, true}) {
        domaind::RestartBrake brake;
        for (unsigned i = 0; i < 5; ++i)
            EXPECT_EQ(brake.refuse("a", begin, is_lasting), nullptr);
        EXPECT_EQ(brake.refuse("b", begin, is_lasting), nullptr);
        const auto* const limit = brake.refuse("a", begin + 20 * second, is_lasting);
        ASSERT_NE(limit, nullptr);
        EXPECT_EQ(limit->restarts, 5u);
        EXPECT_EQ(brake.refuse("a", begin + 20 * second, is_lasting), nullptr); // created by hand
    }
}

TEST(RestartBrake, StopsASlowLoopOfCrashesButNotOfReboots) {
    constexpr std::uint64_t second = 1'000'000'000;
    domaind::RestartBrake brake;
    std::uint64_t now = 5000 * second;
    for (unsigned i = 0; i < 1000; ++i, now += 5 * second)
        EXPECT_EQ(brake.refuse("reboots", now, false), nullptr) << i;
    for (unsigned i = 0; i < 20; ++i, now += 5 * second)
        EXPECT_EQ(brake.refuse("reboots", now, true), nullptr) << i;
    const auto* const limit = brake.refuse("reboots", now, true);
    ASSERT_NE(limit, nullptr);
    EXPECT_EQ(limit->restarts, 20u);
    EXPECT_STREQ(limit->window, "an hour");
    for (unsigned i = 0; i < 100; ++i, now += 181 * second)
        EXPECT_EQ(brake.refuse("now and then", now, true), nullptr) << i;
}

TEST_F(DomainEndsTest, AStoreThatIsSilentIsNotWaitedForForEver) {
    control::StoreClient client = local.client(2000);
    EXPECT_TRUE(client.list("/local/domain"));
    local.is_silent = true;
    const std::uint64_t begun = monotonic_ns();
    for (int request = 0; request < 20; ++request)
        try {
            (void)client.read("/local/domain/0/name");
            ADD_FAILURE() << "an answer from nobody";
        } catch (const Error& error) {
            EXPECT_STREQ(error.what(), "XenStore: cero-store has not answered for 2 s");
            EXPECT_NE(error.remedy(), "");
            EXPECT_EQ(error.code(), ExitCode::not_control);
        }
    EXPECT_GE(monotonic_ns() - begun, 2'000'000'000u);
    EXPECT_LT(monotonic_ns() - begun, 20'000'000'000u); // only the first one waits
}

TEST_F(DomainEndsTest, ANameIsFreeWhenItsDomainIsGone) {
    store.write("/local/domain/77/name", "guest"); // its destroyer has not come to removing it
    EXPECT_GT(create_domain(machine, config, options), 0);
    daemon.look();
    EXPECT_FALSE(store.read("/local/domain/77/name"));
}

} // namespace
} // namespace cero::toolstack
