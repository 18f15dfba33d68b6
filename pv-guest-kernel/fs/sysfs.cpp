// SPDX-License-Identifier: BSD-2-Clause
// sysfs, as far as programs look into it: /sys/block, /sys/class/{net,block,tty}, /sys/hypervisor,
// /sys/kernel.
#include "sysfs.hpp"
#include "arch/x86_64/hypercalls.hpp"
#include "block_node.hpp"
#include "generated.hpp"
#include <kernel/initcall.hpp>

namespace kernel::sysfs {

namespace {

using generated::directory_mode;
using generated::DynamicChild;
using generated::file_mode;
using generated::Key;
using generated::Node;

bool block_of(Key key, block_node::Info& info) noexcept {
    return block_node::at(key.item, info);
}

void generate_size(Text& out, Key key) noexcept {
    block_node::Info info;
    if (block_of(key, info))
        out.format("%llu\n", ull(info.sectors));
}
void generate_ro(Text& out, Key key) noexcept {
    block_node::Info info;
    if (block_of(key, info))
        out.format("%d\n", info.read_only ? 1 : 0);
}
void generate_dev(Text& out, Key key) noexcept {
    block_node::Info info;
    if (block_of(key, info))
        out.format("%u:%u\n", device_major(info.number), device_minor(info.number));
}
void generate_removable(Text& out, Key) noexcept {
    out.append("0\n");
}

constexpr Node size_node{.name = "size", .mode = file_mode, .generate = generate_size};
constexpr Node ro_node{.name = "ro", .mode = file_mode, .generate = generate_ro};
constexpr Node dev_node{.name = "dev", .mode = file_mode, .generate = generate_dev};
constexpr Node removable_node{
    .name = "removable", .mode = file_mode, .generate = generate_removable};
constexpr const Node* disk_children[] = {&size_node, &ro_node, &dev_node, &removable_node};
constexpr Node disk_directory{.name = "disk", .mode = directory_mode, .children = disk_children};

bool next_disk(Key, std::uint64_t& cookie, DynamicChild& child) noexcept {
    block_node::Info info;
    if (!block_node::at(cookie, info))
        return false;
    copy_text(child.name, info.name);
    child.node = &disk_directory;
    child.key = {0, cookie};
    ++cookie;
    return true;
}

ClassEntries network_entries{};
bool next_interface(Key key, std::uint64_t& cookie, DynamicChild& child) noexcept {
    return network_entries != nullptr && network_entries(key, cookie, child);
}

/// What cttyhack asks for: the terminal behind /dev/console.
void generate_active(Text& out, Key) noexcept {
    out.append("hvc0\n");
}
void generate_type(Text& out, Key) noexcept {
    out.append("xen\n");
}
void generate_version_major(Text& out, Key) noexcept {
    out.format("%ld\n", hyper::xen_version(CERO_XENVER_version) >> 16);
}
void generate_version_minor(Text& out, Key) noexcept {
    out.format("%ld\n", hyper::xen_version(CERO_XENVER_version) & 0xffff);
}
/// What the hypervisor writes as a text of `size` bytes, which always ends in NUL.
template <unsigned command, std::size_t size>
void generate_text(Text& out, Key) noexcept {
    char text[size] = {};
    if (hyper::xen_version(command, text) >= 0)
        out.format("%.*s\n", static_cast<int>(size - 1), text);
}
void generate_uuid(Text& out, Key) noexcept {
    std::uint8_t handle[16] = {};
    if (hyper::xen_version(CERO_XENVER_guest_handle, handle) < 0)
        return;
    for (std::size_t i = 0; i < sizeof(handle); ++i)
        out.format("%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", handle[i]);
    out.append("\n");
}

constexpr Node type_node{.name = "type", .mode = file_mode, .generate = generate_type};
constexpr Node major_node{.name = "major", .mode = file_mode, .generate = generate_version_major};
constexpr Node minor_node{.name = "minor", .mode = file_mode, .generate = generate_version_minor};
constexpr Node extra_node{
    .name = "extra", .mode = file_mode, .generate = generate_text<CERO_XENVER_extraversion, 16>};
constexpr const Node* version_children[] = {&major_node, &minor_node, &extra_node};
constexpr Node version_node{
    .name = "version", .mode = directory_mode, .children = version_children};
constexpr Node uuid_node{.name = "uuid", .mode = file_mode, .generate = generate_uuid};
constexpr Node capabilities_node{.name = "capabilities",
                                 .mode = file_mode,
                                 .generate = generate_text<CERO_XENVER_capabilities, 1024>};
constexpr Node changeset_node{
    .name = "changeset", .mode = file_mode, .generate = generate_text<CERO_XENVER_changeset, 64>};
constexpr const Node* properties_children[] = {&capabilities_node, &changeset_node};
constexpr Node properties_node{
    .name = "properties", .mode = directory_mode, .children = properties_children};
constexpr const Node* hypervisor_children[] = {&type_node, &version_node, &uuid_node,
                                               &properties_node};
constexpr Node hypervisor{
    .name = "hypervisor", .mode = directory_mode, .children = hypervisor_children};

constexpr Node block{.name = "block", .mode = directory_mode, .next = next_disk};
constexpr Node class_net{.name = "net", .mode = directory_mode, .next = next_interface};
constexpr Node active_node{.name = "active", .mode = file_mode, .generate = generate_active};
constexpr const Node* console_children[] = {&active_node};
constexpr Node console_directory{
    .name = "console", .mode = directory_mode, .children = console_children};
constexpr const Node* tty_children[] = {&console_directory};
constexpr Node class_tty{.name = "tty", .mode = directory_mode, .children = tty_children};
constexpr const Node* class_children[] = {&block, &class_net, &class_tty};
constexpr Node class_directory{.name = "class", .mode = directory_mode, .children = class_children};
constexpr Node kernel_directory{.name = "kernel", .mode = directory_mode};
constexpr Node devices{.name = "devices", .mode = directory_mode};
constexpr const Node* root_children[] = {&block, &class_directory, &devices, &hypervisor,
                                         &kernel_directory};
constexpr Node root{.name = "", .mode = directory_mode, .children = root_children};

void register_sysfs() {
    static generated::Type type{"sysfs", 0x62656572, root};
    register_file_system(type);
}
CERO_INITCALL(subsys, register_sysfs);

} // namespace

void set_network_entries(ClassEntries entries) noexcept {
    network_entries = entries;
}

} // namespace kernel::sysfs
