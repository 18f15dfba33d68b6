// SPDX-License-Identifier: BSD-2-Clause
// Fuzz target: any bytes as a guest's stream to XenStore. Quotas hold, counts agree, dom0 is
// unharmed.
#include "fuzz/target.hpp"
#include "store/core.hpp"

#include <cstdlib>

namespace {

using namespace cero;
using namespace cero::store;

class NoDomains final : public DomainService {
public:
    Status introduce(DomainNumber, std::uint64_t, std::uint32_t) override { std::abort(); }
    Status release(DomainNumber) override { std::abort(); }
    [[nodiscard]] bool is_introduced(DomainNumber) const override { return false; }
    Status resume(DomainNumber) override { std::abort(); }
    Status set_target(DomainNumber, DomainNumber) override { std::abort(); }
};

} // namespace

namespace cero::fuzz {

Seed make_seed() {
    using namespace std::string_literals;
    std::string bytes;
    encode_to(bytes, Op::watch, 1, 0, "data\0token\0"s);
    encode_to(bytes, Op::transaction_start, 2, 0, "\0"s);
    encode_to(bytes, Op::write, 3, 1, "data/a\0value"s);
    encode_to(bytes, Op::set_perms, 4, 1, "data/a\0n5\0r6\0"s);
    encode_to(bytes, Op::transaction_end, 5, 1, "T\0"s);
    encode_to(bytes, Op::directory, 6, 0, "data\0"s);
    encode_to(bytes, Op::mkdir, 7, 0, "/local/domain/5/data/b\0"s);
    encode_to(bytes, Op::rm, 8, 0, "data\0"s);
    encode_to(bytes, Op::directory_part, 9, 0, "device\0000\0"s);
    return {bytes};
}

} // namespace cero::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    NoDomains domains;
    Limits limits;
    limits.tree.nodes_per_domain = 16;
    limits.watches = 4;
    limits.transactions = 2;
    Core core{domains, limits};
    std::vector<Change> ignored;
    (void)core.tree().write(Caller{}, "/local/domain/0/secret", "s", limits.tree, ignored);
    (void)core.tree().make(Caller{}, "/local/domain/5", limits.tree, ignored);
    (void)core.tree().set_permissions(Caller{}, "/local/domain/5",
                                      *Permissions::from_strings({"n5"}), limits.tree, ignored);
    Connection guest{5};
    core.add(guest);
    guest.decoder.feed({reinterpret_cast<const char*>(data), size});
    while (core.serve(guest) || guest.has_output())
        guest.consume_output(guest.output().size());
    core.remove(guest);
    std::size_t owned = 0;
    walk(core.tree().root(), "/", [&](const std::string&, const Node& node) {
        owned += node.permissions.owner() == 5 ? 1 : 0;
    });
    const Node* secret = core.tree().find("/local/domain/0/secret");
    if (owned != core.tree().nodes_of(5) || owned > limits.tree.nodes_per_domain ||
        guest.watches.size() > limits.watches || guest.transactions.size() > limits.transactions ||
        secret == nullptr || secret->value != "s")
        std::abort();
    return 0;
}
