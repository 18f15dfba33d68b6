// SPDX-License-Identifier: BSD-2-Clause
// Journal: what a store process must not forget when it dies: the tree and the state of each ring.
//
//   file:  batch batch ...        batch: size, checksum, records       record: size, kind, fields
//
// A batch is written before anything of it is visible to a guest (indexes of a ring, replies), and
// rings keep their indexes in the guest's page, so the next process goes on where this one stopped:
// no request is lost or served twice. Batches that are not whole are those of the last instant;
// nobody has seen their effects.
#pragma once

#include "base/file.hpp"
#include "store/tree.hpp"
#include "store/wire.hpp"

#include <map>
#include <string>
#include <vector>

namespace cero::store {

/// A watch as it is kept; see store::Watch.
struct SavedWatch {
    std::string path, token, prefix;
    std::uint32_t depth_plus_one{}; ///< 0: no bound
    bool operator==(const SavedWatch&) const = default;
};

/// A client with a ring.
struct SavedClient {
    std::uint64_t frame{};
    std::uint32_t port{};     ///< the domain's end of the event channel
    std::uint32_t consumed{}; ///< request bytes that have been taken, as the ring counts them
    std::uint32_t produced{}; ///< answer bytes in the ring when `output` was still to be written
    DomainNumber target{no_domain};
    bool is_shut_down{};
    std::string input;  ///< an unfinished request
    std::string output; ///< answers and events, whole messages or the rest of one
    std::vector<std::uint32_t> transactions;
    std::vector<SavedWatch> watches;
    bool operator==(const SavedClient&) const = default;
};

class Journal {
public:
    explicit Journal(std::string path) : path_{std::move(path)} {}

    /// Reads what an earlier process left: fills the tree, returns its clients. Empty when there is
    /// nothing, and then begins a new one.
    [[nodiscard]] std::map<DomainNumber, SavedClient> load(Tree& tree);

    /// Notes changes of the tree, in their order, as `tree` holds them now.
    void note(const Tree& tree, const std::vector<Change>& changes);
    /// Its watches are noted only `with_watches`: they are many and change seldom.
    void note(DomainNumber domain, SavedClient client, bool with_watches);
    void note_release(DomainNumber domain);

    /// Writes what was noted, all or nothing. When the file has grown much longer than what it
    /// says, it starts over. Throws Error when it cannot be written.
    void flush(const Tree& tree);
    [[nodiscard]] bool is_whole() const noexcept { return is_whole_; }

private:
    void open();
    void start_over(const Tree& tree);
    void note_node(const std::string& path, const Node& node);

    std::string path_;
    Fd file_;
    std::string pending_;
    std::map<DomainNumber, SavedClient> clients_; ///< as they were noted last
    std::uint64_t generation_{};                  ///< of the tree at the last note
    std::size_t size_{}, size_at_start_{};
    bool is_whole_{true}; ///< false: load() found an unfinished end
};

} // namespace cero::store
