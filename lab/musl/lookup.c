/* Looks hosts up as any program on musl does. One line for each: its name, and its addresses or
 * the number of the error. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

int main(int count, char **names) {
    for (int index = 1; index < count; index++) {
        struct addrinfo wanted = {.ai_socktype = SOCK_STREAM}, *found = NULL;
        int error = getaddrinfo(names[index], NULL, &wanted, &found);
        printf("%s", names[index]);
        if (error)
            printf(" error=%d", error);
        for (struct addrinfo *each = found; each; each = each->ai_next) {
            char text[INET6_ADDRSTRLEN];
            const void *address = each->ai_family == AF_INET6
                ? (void *)&((struct sockaddr_in6 *)each->ai_addr)->sin6_addr
                : (void *)&((struct sockaddr_in *)each->ai_addr)->sin_addr;
            printf(" %s", inet_ntop(each->ai_family, address, text, sizeof text));
        }
        printf("\n");
        if (found)
            freeaddrinfo(found);
    }
    return 0;
}
