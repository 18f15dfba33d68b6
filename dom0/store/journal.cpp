// SPDX-License-Identifier: BSD-2-Clause
// Encoding, replay and compaction of the journal.
#include "store/journal.hpp"

#include "base/error.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>

namespace cero::store {

namespace {

constexpr std::size_t file_max = std::size_t{256} << 20;
constexpr std::size_t batch_header = 2 * sizeof(std::uint32_t);

enum class Kind : char { node = 'N', removed = 'R', client = 'C', watches = 'W', released = 'X' };

std::uint32_t checksum(std::string_view bytes) noexcept {
    std::uint32_t hash = 2166136261u; // FNV-1a
    for (const char c : bytes)
        hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
    return hash;
}

class Writer {
public:
    Writer(std::string& out, Kind kind) : out_{out}, start_{out.size()} {
        number(std::uint32_t{0});
        out_.push_back(static_cast<char>(kind));
    }
    ~Writer() {
        const auto size = static_cast<std::uint32_t>(out_.size() - start_ - sizeof(std::uint32_t));
        std::memcpy(out_.data() + start_, &size, sizeof size);
    }
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;
    template <typename Number>
    void number(Number value) {
        out_.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
    void text(std::string_view value) {
        number(static_cast<std::uint32_t>(value.size()));
        out_.append(value);
    }

private:
    std::string& out_;
    std::size_t start_;
};

/// Only for batches whose checksum is right: what is read was written by Writer.
class Reader {
public:
    explicit Reader(std::string_view bytes) : bytes_{bytes} {}
    [[nodiscard]] bool at_end() const noexcept { return bytes_.empty(); }
    template <typename Number>
    Number number() {
        Number value{};
        const std::string_view from = part(sizeof value);
        std::memcpy(&value, from.data(), from.size());
        return value;
    }
    std::string_view part(std::size_t size) {
        const std::string_view found = bytes_.substr(0, size);
        bytes_.remove_prefix(found.size());
        return found;
    }
    std::string text() { return std::string{part(number<std::uint32_t>())}; }

private:
    std::string_view bytes_;
};

void write_client(std::string& out, DomainNumber domain, const SavedClient& client) {
    Writer to{out, Kind::client};
    to.number(domain);
    to.number(client.frame);
    for (const std::uint32_t word : {client.port, client.consumed, client.produced})
        to.number(word);
    to.number(client.target);
    to.number(client.is_shut_down);
    to.text(client.input);
    to.text(client.output);
    to.number(static_cast<std::uint32_t>(client.transactions.size()));
    for (const std::uint32_t id : client.transactions)
        to.number(id);
}

void write_watches(std::string& out, DomainNumber domain, const SavedClient& client) {
    Writer to{out, Kind::watches};
    to.number(domain);
    to.number(static_cast<std::uint32_t>(client.watches.size()));
    for (const SavedWatch& watch : client.watches) {
        for (const std::string& text : {watch.path, watch.token, watch.prefix})
            to.text(text);
        to.number(watch.depth_plus_one);
    }
}

SavedClient read_client(Reader& from) {
    SavedClient client;
    client.frame = from.number<std::uint64_t>();
    client.port = from.number<std::uint32_t>();
    client.consumed = from.number<std::uint32_t>();
    client.produced = from.number<std::uint32_t>();
    client.target = from.number<DomainNumber>();
    client.is_shut_down = from.number<bool>();
    client.input = from.text();
    client.output = from.text();
    for (auto left = from.number<std::uint32_t>(); left != 0 && !from.at_end(); --left)
        client.transactions.push_back(from.number<std::uint32_t>());
    return client;
}

std::vector<SavedWatch> read_watches(Reader& from) {
    std::vector<SavedWatch> watches;
    for (auto left = from.number<std::uint32_t>(); left != 0 && !from.at_end(); --left) {
        SavedWatch watch;
        watch.path = from.text();
        watch.token = from.text();
        watch.prefix = from.text();
        watch.depth_plus_one = from.number<std::uint32_t>();
        watches.push_back(std::move(watch));
    }
    return watches;
}

void read_node(Reader& from, Tree& tree) {
    constexpr TreeLimits no_limits{~std::size_t{0}, ~std::size_t{0}, ~std::size_t{0}};
    std::vector<Change> ignored;
    const std::string path = from.text();
    const std::string value = from.text();
    const auto strings = strings_of(from.part(from.number<std::uint32_t>()));
    const auto permissions = strings ? Permissions::from_strings(*strings) : std::nullopt;
    if (tree.write(Caller{}, path, value, no_limits, ignored) && permissions)
        (void)tree.set_permissions(Caller{}, path, *permissions, no_limits, ignored);
}

} // namespace

void Journal::open() {
    file_ = open_file(path_, O_WRONLY | O_CREAT | O_APPEND, 0600);
}

std::map<DomainNumber, SavedClient> Journal::load(Tree& tree) {
    const std::string text = read_file(path_, file_max).value_or("");
    std::string_view rest{text};
    std::vector<Change> ignored;
    while (!rest.empty()) {
        Reader header{rest.substr(0, batch_header)};
        const auto size = header.number<std::uint32_t>();
        const auto sum = header.number<std::uint32_t>();
        if (rest.size() < batch_header || rest.size() - batch_header < size ||
            checksum(rest.substr(batch_header, size)) != sum) {
            is_whole_ = false;
            break;
        }
        Reader batch{rest.substr(batch_header, size)};
        while (!batch.at_end()) {
            Reader record{batch.part(batch.number<std::uint32_t>())};
            switch (static_cast<Kind>(record.number<char>())) {
            case Kind::node:
                read_node(record, tree);
                break;
            case Kind::removed:
                (void)tree.remove(Caller{}, record.text(), ignored);
                break;
            case Kind::client: {
                const auto domain = record.number<DomainNumber>();
                std::vector<SavedWatch> watches = std::move(clients_[domain].watches);
                clients_[domain] = read_client(record);
                clients_[domain].watches = std::move(watches);
                break;
            }
            case Kind::watches: {
                const auto domain = record.number<DomainNumber>();
                clients_[domain].watches = read_watches(record);
                break;
            }
            case Kind::released:
                clients_.erase(record.number<DomainNumber>());
                break;
            }
        }
        rest.remove_prefix(batch_header + size);
    }
    std::map<DomainNumber, SavedClient> found = clients_;
    start_over(tree);
    return found;
}

void Journal::note_node(const std::string& path, const Node& node) {
    Writer to{pending_, Kind::node};
    to.text(path);
    to.text(node.value);
    to.text(node.permissions.to_wire());
}

void Journal::note(const Tree& tree, const std::vector<Change>& changes) {
    for (const Change& change : changes) {
        if (change.removed) {
            Writer{pending_, Kind::removed}.text(change.path);
            continue;
        }
        // A new node may have come with new nodes above it, which nobody reports.
        for (std::size_t end = change.path.find('/', 1); end != std::string::npos;
             end = change.path.find('/', end + 1)) {
            const std::string above = change.path.substr(0, end);
            if (const Node* node = tree.find(above);
                node != nullptr && node->generation > generation_)
                note_node(above, *node);
        }
        if (const Node* node = tree.find(change.path))
            note_node(change.path, *node);
    }
    generation_ = tree.generation();
}

void Journal::note(DomainNumber domain, SavedClient client, bool with_watches) {
    SavedClient& kept = clients_[domain];
    if (!with_watches)
        client.watches = std::move(kept.watches);
    kept = std::move(client);
    write_client(pending_, domain, kept);
    if (with_watches)
        write_watches(pending_, domain, kept);
}

void Journal::note_release(DomainNumber domain) {
    if (clients_.erase(domain) != 0)
        Writer{pending_, Kind::released}.number(domain);
}

void Journal::flush(const Tree& tree) {
    constexpr std::size_t worth_it = 128 << 10;
    if (pending_.empty())
        return;
    if (size_ + pending_.size() > std::max(worth_it, 4 * size_at_start_)) {
        start_over(tree);
        return;
    }
    std::string batch;
    batch.reserve(batch_header + pending_.size());
    for (const std::uint32_t word :
         {static_cast<std::uint32_t>(pending_.size()), checksum(pending_)})
        batch.append(reinterpret_cast<const char*>(&word), sizeof word);
    batch += pending_;
    pending_.clear();
    if (!write_all(file_.get(), batch))
        fail("{}: cannot write: {}", path_, errno_text(errno));
    size_ += batch.size();
}

/// A new file that says what is so now; the old one stays until it is whole.
void Journal::start_over(const Tree& tree) {
    pending_.clear();
    walk(tree.root(), "/",
         [&](const std::string& path, const Node& node) { note_node(path, node); });
    for (const auto& [domain, client] : clients_) {
        write_client(pending_, domain, client);
        write_watches(pending_, domain, client);
    }
    generation_ = tree.generation();
    const std::string path = path_;
    path_ += ".new";
    (void)std::remove(path_.c_str());
    open();
    size_ = 0;
    size_at_start_ = pending_.size();
    flush(tree);
    path_ = path;
    if (std::rename((path + ".new").c_str(), path.c_str()) != 0)
        fail("{}: cannot give the journal this name: {}", path, errno_text(errno));
}

} // namespace cero::store
